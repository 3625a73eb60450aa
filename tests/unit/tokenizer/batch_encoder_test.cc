// Batches, growing texts and BERT's vocab.txt; batches against PyPI's `tokenizers`
// (tests/tools/make_model_vectors.py).
#include "tokenizer/batch_encoder.h"

#include <filesystem>
#include <fstream>
#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/bert_vocabulary.h"
#include "tokenizer/growing_text.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;
using Ids = std::vector<TokenId>;

std::shared_ptr<const Tokenizer> load(const std::string& name) {
  return load_tokenizer(sample_path("files/" + name + ".tokenizer.json.zst"));
}

std::vector<std::string_view> views(const std::vector<std::string>& texts) {
  return {texts.begin(), texts.end()};
}

std::vector<EncodedText> encoded(const Tokenizer& tokenizer, const std::vector<std::string>& texts,
                                 const BatchOptions& options, int n_threads = 2) {
  ThreadPool::Options pool;
  pool.n_threads = n_threads;
  ThreadPool threads(pool);
  return encode_batch(tokenizer, views(texts), options, threads, {});
}

TEST(BatchEncoder, CutsAndFillsUpAsTheLibraryDoes) {
  const json vectors = read_sample_json("batches.json.zst");
  const auto texts = vectors["texts"].get<std::vector<std::string>>();
  json file = read_sample_json("files/bert-base-uncased.tokenizer.json.zst");
  for (const json& expected : vectors["cases"]) {
    file["truncation"] = expected["truncation"];
    file["padding"] = expected["padding"];
    const auto tokenizer = parse_tokenizer_json(file.dump(), "changed.json");
    BatchOptions options;
    options.encode.add = AddSpecials::yes;
    options.truncation = BatchOptions::Truncation::as_file;
    options.padding = BatchOptions::Padding::as_file;
    options.wants_spans = true;
    const std::vector<EncodedText> found = encoded(*tokenizer, texts, options);
    for (size_t i = 0; i < texts.size(); ++i) {
      const std::string shown = texts[i] + expected["truncation"].dump() + expected["padding"].dump();
      EXPECT_EQ(found[i].ids, expected["rows"][i][0].get<Ids>()) << shown;
      EXPECT_EQ(found[i].is_token, expected["rows"][i][1].get<std::vector<uint8_t>>()) << shown;
      std::vector<size_t> numbers;
      for (const TokenSpan& span : found[i].spans) numbers.insert(numbers.end(), {span.begin, span.end});
      EXPECT_EQ(numbers, expected["rows"][i][2].get<std::vector<size_t>>()) << shown;
    }
    EXPECT_EQ(parse_tokenizer_json(tokenizer->to_json(), "again")->lengths().truncation.max_tokens,
              tokenizer->lengths().truncation.max_tokens);
  }
}

TEST(BatchEncoder, GivesTheSameForAnyNumberOfThreads) {
  const auto tokenizer = load("gpt2");
  const std::vector<std::string> texts = sample_texts();
  const std::vector<EncodedText> one = encoded(*tokenizer, texts, {}, 1),
                                 three = encoded(*tokenizer, texts, {}, 3);
  for (size_t i = 0; i < texts.size(); ++i) {
    ASSERT_EQ(one[i].ids, tokenizer->encode(texts[i]));
    ASSERT_EQ(three[i].ids, one[i].ids);
    ASSERT_TRUE(one[i].spans.empty());
  }
}

TEST(BatchEncoder, RefusesLengthsThatMakeNoSense) {
  const auto tokenizer = load("bert-base-uncased");
  const auto refusal = [&](const std::string& named, const auto& change) {
    BatchOptions options;
    options.encode.add = AddSpecials::yes;
    change(options);
    try {
      encoded(*tokenizer, {"one two", "three four five"}, options);
      ADD_FAILURE() << named;
    } catch (const Error& error) {
      EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
    }
  };
  using Truncation = BatchOptions::Truncation;
  refusal("text 1 has 5 tokens, expected at most 4", [](BatchOptions& options) { options.max_tokens = 4; });
  refusal("1 tokens are asked for, 2 are put around", [](BatchOptions& options) {
    options.max_tokens = 1;
    options.truncation = Truncation::keep_start;
  });
  refusal("max_tokens is 0", [](BatchOptions& options) { options.truncation = Truncation::keep_end; });
  refusal("max_tokens is 0",
          [](BatchOptions& options) { options.padding = BatchOptions::Padding::to_max_tokens; });
  EXPECT_THROW(
      {
        BatchOptions options;
        options.padding = BatchOptions::Padding::longest;
        encoded(*load("gpt2"), {"a"}, options);
      },
      Error);
}

TEST(BatchEncoder, StopsWhenCancelled) {
  const auto tokenizer = load("toy-roberta");
  CancelToken cancel;
  cancel.request();
  Watch watch;
  watch.cancel = &cancel;
  ThreadPool threads({});
  const std::vector<std::string_view> texts{"a"};
  EXPECT_THROW(encode_batch(*tokenizer, texts, {}, threads, watch), Error);
}

TEST(GrowingText, GivesTheIdsOfAllTextAndKeepsWhatIsFinal) {
  for (const char* name : {"gpt2", "falcon", "bert-base-cased"}) {
    const auto tokenizer = load(name);
    for (const AddSpecials add : {AddSpecials::no, AddSpecials::yes}) {
      EncodeOptions options;
      options.add = add;
      size_t n_tested = 0, n_final_of_all = 0;
      for (const std::string& text : sample_texts()) {
        if (text.size() > 400 || ++n_tested > 120) continue;
        GrowingText growing(tokenizer, options);
        Ids final_ids;
        for (size_t size = 0; size < text.size(); ++size) {
          growing.append(std::string_view(text).substr(size, 1));
          const std::span<const TokenId> ids = growing.ids();
          const Ids all = tokenizer->encode(text.substr(0, size + 1), options);
          ASSERT_EQ(Ids(ids.begin(), ids.end()), all)
              << name << " " << size << " " << json(text).dump(-1, ' ', true);
          ASSERT_LE(final_ids.size(), growing.n_final());
          ASSERT_TRUE(std::equal(final_ids.begin(), final_ids.end(), ids.begin()));
          final_ids.assign(ids.begin(), ids.begin() + static_cast<std::ptrdiff_t>(growing.n_final()));
        }
        n_final_of_all += final_ids.size();
      }
      EXPECT_EQ(n_final_of_all > 0, std::string(name) == "gpt2") << name;
    }
  }
}

std::string vocabulary_lines(const std::string& name) {
  const json file = read_sample_json("files/" + name + ".tokenizer.json.zst");
  std::vector<std::string> texts(file["model"]["vocab"].size());
  for (const auto& [text, id] : file["model"]["vocab"].items()) texts.at(id.get<size_t>()) = text;
  std::string lines;
  for (const std::string& text : texts) lines += text + "\n";
  return lines;
}

TEST(BertVocabulary, MeansWhatTheJsonFileMeans) {
  for (const char* name : {"bert-base-cased", "bert-base-uncased"}) {
    const std::string lines = vocabulary_lines(name);
    ASSERT_TRUE(looks_like_bert_vocabulary(lines));
    const auto from_lines = parse_bert_vocabulary(lines, "vocab.txt", Json());
    const auto from_json = load(name);
    for (const std::string& text : sample_texts()) {
      const EncodeOptions all{SpecialsInText::all, AddSpecials::yes};
      ASSERT_EQ(from_lines->encode(text, all), from_json->encode(text, all)) << text;
    }
    EXPECT_EQ(from_lines->decode(from_lines->encode("don't stop ."), true),
              from_json->decode(from_json->encode("don't stop ."), true));
  }
}

TEST(BertVocabulary, TakesTheConfigurationsWordForLetterCase) {
  const std::string lines = vocabulary_lines("bert-base-cased");
  const Json lower = {{"do_lower_case", true}};
  EXPECT_EQ(parse_bert_vocabulary(lines, "vocab.txt", lower)->encode("HELLO"),
            parse_bert_vocabulary(lines, "vocab.txt", Json())->encode("hello"));
}

TEST(BertVocabulary, NamesTheLine) {
  const auto refusal = [](const std::string& text) {
    try {
      parse_bert_vocabulary(text, "vocab.txt", Json());
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::format_invalid);
      return error.message();
    }
    return std::string("none");
  };
  EXPECT_NE(refusal("[UNK]\n[CLS]\n[SEP]\na\na\n").find("line 5: 'a' is the token of line 4"),
            std::string::npos);
  EXPECT_NE(refusal("[UNK]\n\n[SEP]\n").find("line 2: no token"), std::string::npos);
  EXPECT_NE(refusal("[UNK]\n\xff\n").find("line 2: not UTF-8"), std::string::npos);
  EXPECT_NE(refusal("[UNK]\n[CLS]\n").find("without the token [SEP]"), std::string::npos);
}

TEST(TokenizerFolder, HoldsWhatIsLookedForFirst) {
  const std::filesystem::path folder =
      std::filesystem::temp_directory_path() / "nanochat_tokenizer_folder_test";
  std::filesystem::remove_all(folder);
  std::filesystem::create_directory(folder);
  EXPECT_TRUE(find_tokenizer_file(folder.string()).ends_with("/tokenizer.json"));
  std::ofstream(folder / "vocab.txt") << "[PAD]\n[UNK]\n[CLS]\n[SEP]\nHello\n";
  std::ofstream(folder / "tokenizer_config.json") << "{\"do_lower_case\": false}";
  EXPECT_TRUE(find_tokenizer_file(folder.string()).ends_with("/vocab.txt"));
  EXPECT_EQ(load_tokenizer(find_tokenizer_file(folder.string()))->encode("Hello hello"), (Ids{4, 1}));
  std::ofstream(folder / "tokenizer.json") << "{";
  EXPECT_TRUE(find_tokenizer_file(folder.string()).ends_with("/tokenizer.json"));
  std::filesystem::remove_all(folder);
}

}  // namespace
}  // namespace nanochat
