// What a tokenizer becomes in GGUF, and which cannot be said there. That llama.cpp gives the same ids with
// these entries is checked by tests/tools/check_gguf.py.
#include "tokenizer/gguf_vocabulary.h"

#include <functional>
#include <map>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

using Entries = std::map<std::string, GgufValue>;

Entries entries_of(const Tokenizer& tokenizer, const GgufVocabularyRequest& request) {
  Entries entries;
  for (GgufEntry& entry : gguf_vocabulary(tokenizer, request)) {
    EXPECT_TRUE(entry.key.starts_with("tokenizer.ggml.")) << entry.key;
    EXPECT_TRUE(entries.emplace(entry.key.substr(15), std::move(entry.value)).second);
  }
  return entries;
}

std::shared_ptr<const Tokenizer> sample(const std::string& name) {
  return load_tokenizer(sample_path("files/" + name + ".tokenizer.json.zst"));
}

template <class T>
T value(const Entries& entries, const std::string& key) {
  return std::get<T>(entries.at(key));
}
using Texts = std::vector<std::string>;
using Ints = std::vector<int32_t>;
using Floats = std::vector<float>;

// The vocabulary of tinyllamas was SentencePiece's: its scores were -(id - 259) in order of the pieces.
TEST(GgufVocabulary, OfASentencePieceLikeTokenizerHasItsScores) {
  const auto tokenizer = sample("stories260k");
  const Entries entries = entries_of(*tokenizer, {512, 1, 2});
  EXPECT_EQ(value<std::string>(entries, "model"), "llama");
  EXPECT_EQ(value<std::string>(entries, "pre"), "default");
  const auto texts = value<Texts>(entries, "tokens");
  const auto types = value<Ints>(entries, "token_type");
  const auto scores = value<Floats>(entries, "scores");
  ASSERT_EQ(texts.size(), 512U);
  ASSERT_EQ(types.size(), 512U);
  ASSERT_EQ(scores.size(), 512U);
  EXPECT_EQ(texts[0], "<unk>");
  EXPECT_EQ(texts[261],
            "\xe2\x96\x81"
            "a");
  EXPECT_EQ(types[0], 2);
  EXPECT_EQ(types[1], 3);
  EXPECT_EQ(types[2], 3);
  EXPECT_EQ(texts[13], "<0x0A>");
  for (size_t id = 3; id < 259; ++id) EXPECT_EQ(types[id], 6) << id;
  for (size_t id = 259; id < 259 + 151; ++id) {
    EXPECT_EQ(types[id], 1) << id;
    EXPECT_EQ(scores[id], 259.0F - static_cast<float>(id)) << id;
  }
  EXPECT_EQ(value<uint32_t>(entries, "bos_token_id"), 1U);
  EXPECT_EQ(value<uint32_t>(entries, "eos_token_id"), 2U);
  EXPECT_EQ(value<uint32_t>(entries, "unknown_token_id"), 0U);
  EXPECT_TRUE(value<bool>(entries, "add_bos_token"));
  EXPECT_FALSE(value<bool>(entries, "add_eos_token"));
  EXPECT_TRUE(value<bool>(entries, "add_space_prefix"));
  EXPECT_FALSE(entries.contains("merges"));
}

TEST(GgufVocabulary, OfAByteLevelTokenizerHasItsMerges) {
  const auto tokenizer = sample("gpt2");
  const Entries entries = entries_of(*tokenizer, {50257});
  EXPECT_EQ(value<std::string>(entries, "model"), "gpt2");
  EXPECT_EQ(value<std::string>(entries, "pre"), "gpt-2");
  const auto texts = value<Texts>(entries, "tokens");
  ASSERT_EQ(texts.size(), 50257U);
  EXPECT_EQ(texts[262], "\xc4\xa0the");  // the byte alphabet's space
  EXPECT_EQ(texts[50256], "<|endoftext|>");
  EXPECT_EQ(value<Ints>(entries, "token_type")[50256], 3);
  const auto merges = value<Texts>(entries, "merges");
  EXPECT_EQ(merges.size(), 50000U);
  EXPECT_EQ(merges[0], "\xc4\xa0 t");
  EXPECT_EQ(value<uint32_t>(entries, "bos_token_id"), 50256U);  // found by its name
  EXPECT_EQ(value<uint32_t>(entries, "eos_token_id"), 50256U);
  EXPECT_FALSE(value<bool>(entries, "add_bos_token"));
  EXPECT_FALSE(entries.contains("scores"));
}

// Readers take as many tokens as the embedding has rows, each with a text of its own.
TEST(GgufVocabulary, FillsIdsThatTheTokenizerLacks) {
  const Entries entries = entries_of(*sample("gpt2"), {50304});
  const auto texts = value<Texts>(entries, "tokens");
  const auto types = value<Ints>(entries, "token_type");
  ASSERT_EQ(texts.size(), 50304U);
  EXPECT_EQ(texts[50257], "[PAD50257]");
  EXPECT_EQ(types[50257], 5);
  EXPECT_EQ(texts[50303], "[PAD50303]");
}

TEST(GgufVocabulary, RefusesMoreIdsThanTheModelHas) {
  try {
    entries_of(*sample("gpt2"), {50256});
    ADD_FAILURE();
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::invalid_argument);
    EXPECT_NE(error.message().find("50256"), std::string::npos) << error.message();
  }
}

json small_pieces() {
  json vocab = {{"<unk>", 0}, {"<s>", 1}};
  for (int byte = 0; byte < 256; ++byte) {
    constexpr char kDigits[] = "0123456789ABCDEF";
    vocab[std::string("<0x") + kDigits[byte / 16] + kDigits[byte % 16] + ">"] = byte + 2;
  }
  for (const char* text : {"\xe2\x96\x81", "a", "b", "ab", "bb", "abb"}) vocab[text] = vocab.size();
  json file = json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 0, "content": "<unk>", "special": true}, {"id": 1, "content": "<s>", "special": true}],
    "normalizer": {"type": "Replace", "pattern": {"String": " "}, "content": "▁"},
    "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "unk_token": "<unk>", "byte_fallback": true, "vocab": {},
              "merges": [["a", "b"], ["b", "b"], ["ab", "b"], ["a", "bb"]]}})");
  file["model"]["vocab"] = vocab;
  return file;
}

void expect_refused(const char* named, const json& file, int64_t n_tokens = 300) {
  try {
    entries_of(*parse_tokenizer_json(file.dump(), "small.json"), {n_tokens});
    ADD_FAILURE() << "not refused: " << named;
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::format_unsupported) << error.message();
    EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
  }
}

TEST(GgufVocabulary, OfMergesHasTheScoreOfTheFirst) {
  const Entries entries = entries_of(*parse_tokenizer_json(small_pieces().dump(), "small.json"), {264});
  const auto scores = value<Floats>(entries, "scores");
  EXPECT_EQ(std::vector<float>(scores.end() - 3, scores.end()), (std::vector<float>{0, -1, -2}));
  EXPECT_FALSE(value<bool>(entries, "add_space_prefix"));
}

TEST(GgufVocabulary, RefusesByNameWhatWouldEncodeDifferently) {
  const std::vector<std::pair<const char*, std::function<void(json&)>>> changes = {
      {"no merge", [](json& file) { file["model"]["merges"].erase(3); }},
      {"do not follow",
       [](json& file) { std::swap(file["model"]["merges"][1], file["model"]["merges"][2]); }},
      {"byte_fallback", [](json& file) { file["model"]["byte_fallback"] = false; }},
      {"ignore_merges", [](json& file) { file["model"]["ignore_merges"] = true; }},
      {"255 of the 256", [](json& file) { file["model"]["vocab"].erase("<0x41>"); }},
      {"normalizer", [](json& file) { file["normalizer"]["content"] = "_"; }},
      {"normalizer", [](json& file) { file["normalizer"] = nullptr; }},
      {"cuts the text",
       [](json& file) { file["pre_tokenizer"] = json::parse(R"({"type": "Punctuation"})"); }},
      {"end_of_word_suffix", [](json& file) { file["model"]["end_of_word_suffix"] = "_"; }},
      {"post-processor", [](json& file) {
         file["post_processor"] =
             json::parse(R"({"type": "BertProcessing", "sep": ["a", 259], "cls": ["b", 260]})");
       }}};
  for (const auto& [named, change] : changes) {
    json file = small_pieces();
    change(file);
    expect_refused(named, file);
  }
}

TEST(GgufVocabulary, RefusesSplitRulesThatLlamaCppLacks) {
  std::vector<std::string> bytes;
  for (int byte = 0; byte < 256; ++byte) bytes.push_back(std::string(1, static_cast<char>(byte)));
  const auto nanochat = make_byte_bpe(bytes, SplitPattern::nanochat, {{"<|bos|>", 256}});
  EXPECT_THROW(gguf_vocabulary(*nanochat, {300}), Error);
  EXPECT_THROW(gguf_vocabulary(*sample("falcon"), {70000}), Error);
  EXPECT_THROW(gguf_vocabulary(*sample("toy-roberta"), {70000}), Error);
}

TEST(GgufVocabulary, NamesTheSplitRuleOfLlama3AndQwen2) {
  json file = json::parse(sample("gpt2")->to_json());
  const auto rule_named = [&](const std::string& digits, bool ignore_merges) {
    const std::string regex = "(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}" + digits +
                              "| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
    file["pre_tokenizer"] = {{"type", "Sequence"}};
    file["pre_tokenizer"]["pretokenizers"] = json::array();
    file["pre_tokenizer"]["pretokenizers"].push_back(
        {{"type", "Split"}, {"pattern", {{"Regex", regex}}}, {"behavior", "Isolated"}, {"invert", false}});
    file["pre_tokenizer"]["pretokenizers"].push_back(
        {{"type", "ByteLevel"}, {"add_prefix_space", false}, {"use_regex", false}});
    file["model"]["ignore_merges"] = ignore_merges;
    return value<std::string>(entries_of(*parse_tokenizer_json(file.dump(), "changed.json"), {50257}), "pre");
  };
  EXPECT_EQ(rule_named("{1,3}", true), "llama-bpe");
  EXPECT_EQ(rule_named("{1,3}", false), "dbrx");
  EXPECT_EQ(rule_named("", false), "qwen2");
  EXPECT_THROW(rule_named("", true), Error);
}

}  // namespace
}  // namespace nanochat
