// What tokenizer.json may say, and what is refused by name.
#include <fstream>
#include <functional>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "tokenizer/tokenizer.h"
#include "unit/tokenizer/sample_data.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

json small_file() {
  return json::parse(R"({"version": "1.0", "truncation": null, "padding": null,
    "added_tokens": [{"id": 3, "content": "<s>", "special": true}],
    "normalizer": null, "pre_tokenizer": null, "post_processor": null, "decoder": null,
    "model": {"type": "BPE", "dropout": null, "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b"]}})",
                     "small");
}

// The error of the small file after a change.
Error refusal(const std::function<void(json&)>& change) {
  json file = small_file();
  change(file);
  try {
    parse_tokenizer_json(file.dump(), "small.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.subject(), "small.json");
    return error;
  }
  ADD_FAILURE() << "not refused: " << file.dump();
  return Error(Status::ok);
}

void expect_unsupported(const char* named, const std::function<void(json&)>& change) {
  const Error error = refusal(change);
  EXPECT_EQ(error.status(), Status::format_unsupported) << error.message();
  EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
}

void expect_invalid(const char* named, const std::function<void(json&)>& change) {
  const Error error = refusal(change);
  EXPECT_EQ(error.status(), Status::format_invalid) << error.message();
  EXPECT_NE(error.message().find(named), std::string::npos) << error.message();
}

std::string refused_text(const std::string& text) {
  try {
    parse_tokenizer_json(text, "small.json");
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), Status::format_invalid) << error.message();
    return error.message();
  }
  ADD_FAILURE() << "not refused: " << text;
  return {};
}

TEST(TokenizerJson, ReadsAFileWithoutAModelType) {
  json file = small_file();
  file["model"].erase("type");
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "small.json")->encode("abb"), (std::vector<TokenId>{2, 1}));
}

// The members that are there name the model, in the order in which the library tries its models.
TEST(TokenizerJson, InfersTheModelFromItsMembers) {
  const auto encoded = [](json model) {
    json file = small_file();
    file["added_tokens"] = json::array();
    file["model"] = std::move(model);
    return parse_tokenizer_json(file.dump(), "small.json")->encode("ab");
  };
  const json vocab = {{"?", 0}, {"a", 1}, {"##b", 2}, {"b", 3}};
  EXPECT_EQ(encoded({{"unk_token", "?"},
                     {"continuing_subword_prefix", "##"},
                     {"max_input_chars_per_word", 9},
                     {"vocab", vocab}}),
            (std::vector<TokenId>{1, 2}));
  EXPECT_EQ(encoded({{"unk_token", "?"}, {"vocab", vocab}}), (std::vector<TokenId>{0}));
  EXPECT_EQ(encoded({{"unk_id", 0}, {"vocab", json::parse(R"([["?", -1], ["b", -2.5], ["a", -1e-3]])")}}),
            (std::vector<TokenId>{2, 1}));
  EXPECT_EQ(encoded({{"vocab", vocab}, {"merges", json::array()}}), (std::vector<TokenId>{1, 3}));
  expect_invalid("no 'type'", [&](json& file) { file["model"] = {{"vocab", vocab}}; });
}

TEST(TokenizerJson, ReadsMergesAsPairsAndAsTexts) {
  json file = small_file();
  file["model"]["merges"] = json::array({json::array({"a", "b"})});
  EXPECT_EQ(parse_tokenizer_json(file.dump(), "small.json")->encode("ab"), (std::vector<TokenId>{2}));
}

TEST(TokenizerJson, RefusesModelsByName) {
  expect_unsupported("Else", [&](json& file) { file["model"]["type"] = "Else"; });
}

TEST(TokenizerJson, RefusesNormalizersByName) {
  for (const char* type : {"Uppercase", "Append"}) {
    expect_unsupported(type, [&](json& file) { file["normalizer"] = {{"type", type}}; });
    expect_unsupported(type, [&](json& file) {
      file["normalizer"] = {{"type", "Sequence"}, {"normalizers", json::array({{{"type", type}}})}};
    });
  }
  expect_unsupported("\\X+", [](json& file) {
    file["normalizer"] = {{"type", "Replace"}, {"pattern", {{"Regex", "\\X+"}}}, {"content", ""}};
  });
}

TEST(TokenizerJson, RefusesPreTokenizersByName) {
  for (const char* type : {"UnicodeScripts", "Sentences"}) {
    expect_unsupported(type, [&](json& file) { file["pre_tokenizer"] = {{"type", type}}; });
  }
  expect_unsupported("\\w+|\\K", [](json& file) {
    file["pre_tokenizer"] = {
        {"type", "Split"}, {"pattern", {{"Regex", "\\w+|\\K"}}}, {"behavior", "Isolated"}};
  });
}

TEST(TokenizerJson, RefusesPostProcessorsAndDecodersByName) {
  expect_unsupported("Other", [](json& file) { file["post_processor"] = {{"type", "Other"}}; });
  expect_unsupported("Other", [&](json& file) { file["decoder"] = {{"type", "Other"}}; });
  expect_unsupported("stop 1", [](json& file) {
    file["decoder"] = {
        {"type", "Sequence"},
        {"decoders", {{{"type", "Fuse"}}, {{"type", "Strip"}, {"content", " "}, {"start", 0}, {"stop", 1}}}}};
  });
}

TEST(TokenizerJson, RefusesWhatWouldChangeTheIds) {
  expect_unsupported("dropout 0.1", [](json& file) { file["model"]["dropout"] = 0.1; });
  expect_unsupported("alpha 0.1", [](json& file) {
    file["model"] = {
        {"type", "Unigram"}, {"unk_id", 0}, {"vocab", json::parse(R"([["<unk>", 0]])")}, {"alpha", 0.1}};
  });
}

TEST(TokenizerJson, RefusesContradictions) {
  expect_invalid("merges[1]: 'abb'", [](json& file) { file["model"]["merges"].push_back("ab b"); });
  expect_invalid("merges[1]: found 'x'", [](json& file) { file["model"]["merges"].push_back("x"); });
  expect_invalid("merges[1]: found 3 texts", [](json& file) {
    file["model"]["merges"].push_back({"a", "b", "c"});
  });
  expect_invalid("id 0 has two texts, 'a' and 'z'", [](json& file) { file["model"]["vocab"]["z"] = 0; });
  expect_invalid("'z' has the id -1", [](json& file) { file["model"]["vocab"]["z"] = -1; });
  expect_invalid("'z' has the id 99999999", [](json& file) { file["model"]["vocab"]["z"] = 99999999; });
  expect_invalid("'z' has 1.5 for an id", [](json& file) { file["model"]["vocab"]["z"] = 1.5; });
  expect_invalid("unk_token '?'", [](json& file) { file["model"]["unk_token"] = "?"; });
  expect_invalid("'vocab' is missing", [](json& file) { file["model"].erase("vocab"); });
  expect_invalid("'vocab' is missing", [](json& file) { file["model"]["vocab"] = json::array(); });
  expect_invalid("'merges' is missing", [](json& file) { file["model"].erase("merges"); });
  expect_invalid("'<s>' has the id 2", [](json& file) { file["added_tokens"][0]["id"] = 2; });
  expect_invalid("'a' has the id 3", [](json& file) { file["added_tokens"][0]["content"] = "a"; });
  expect_invalid("id 3 appears twice", [](json& file) {
    file["added_tokens"].push_back({{"id", 3}, {"content", "<t>"}});
  });
  expect_invalid("added_tokens[0].special", [](json& file) { file["added_tokens"][0]["special"] = 1; });
  expect_invalid("no token has the id 9", [](json& file) {
    file["post_processor"] = {{"type", "RobertaProcessing"}, {"sep", {"x", 9}}, {"cls", {"a", 0}}};
  });
}

TEST(TokenizerJson, RefusesContradictionsOfOtherModels) {
  const auto unigram = [](const char* named, const char* change) {
    expect_invalid(named, [&](json& file) {
      file["model"] =
          json::parse(R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.0]]})");
      file["model"].update(json::parse(change));
    });
  };
  unigram("unk_id is 2, the vocabulary has 2 tokens", R"({"unk_id": 2})");
  unigram("expected an integer from 0", R"({"unk_id": -1})");
  unigram("'a' appears twice", R"({"vocab": [["a", 0], ["a", 0]]})");
  unigram("model.vocab[1]: found null", R"({"vocab": [["a", 0], ["b", null]]})");
  unigram("model.vocab[1]: found 1 values in a pair", R"({"vocab": [["a", 0], ["b"]]})");
  unigram("model.vocab[1]: found 2", R"({"vocab": [["a", 0], ["b", 1, 2]]})");
  unigram("model.vocab[0]: found 0", R"({"vocab": [[0, "a"]]})");
  unigram("model.vocab[0]: found \"a\"", R"({"vocab": ["a"]})");
  unigram("model.vocab[0]: found an object", R"({"vocab": [{}]})");
  unigram("'vocab' is missing or no array", R"({"vocab": {"a": 0, "b": 1}})");
  unigram("model.byte_fallback", R"({"byte_fallback": 1})");
  for (const char* type : {"WordPiece", "WordLevel"}) {
    expect_invalid("unk_token '?'", [&](json& file) {
      file["model"].update({{"type", type}, {"unk_token", "?"}});
    });
    expect_invalid("is not in the vocabulary", [&](json& file) { file["model"]["type"] = type; });
    expect_invalid("id 0 has two texts", [&](json& file) {
      file["model"].update(
          {{"type", type}, {"unk_token", "a"}, {"vocab", json::parse(R"({"a": 0, "z": 0})")}});
    });
  }
  expect_invalid("max_input_chars_per_word", [&](json& file) {
    file["model"].update({{"type", "WordPiece"}, {"unk_token", "a"}, {"max_input_chars_per_word", -1}});
  });
}

TEST(TokenizerJson, RefusesImpossibleLengthsByName) {
  expect_invalid("truncation.max_length", [](json& file) { file["truncation"] = {{"max_length", -1}}; });
  expect_invalid("truncation: 'max_length' is missing", [](json& file) {
    file["truncation"] = {{"stride", 1}};
  });
  expect_invalid("direction 'Up'", [](json& file) { file["padding"] = {{"direction", "Up"}}; });
  expect_invalid("stride 8 with max_length 8", [](json& file) {
    file["truncation"] = {{"max_length", 8}, {"stride", 8}};
  });
  expect_invalid("padding.strategy: 'Some'", [](json& file) { file["padding"] = {{"strategy", "Some"}}; });
  expect_invalid("'Fixed' is missing", [](json& file) { file["padding"] = {{"strategy", {{"x", 1}}}}; });
  expect_invalid("padding.pad_id", [](json& file) { file["padding"] = {{"pad_id", -3}}; });
}

// Complete only with its last byte.
TEST(TokenizerJson, RefusesAFileCutAnywhere) {
  for (const char* model :
       {R"({"type": "BPE", "vocab": {"a": 0, "b": 1, "ab": 2}, "merges": ["a b", ["ab", "b"]]})",
        R"({"type": "WordPiece", "unk_token": "[UNK]", "vocab": {"[UNK]": 0, "a": 1}})",
        R"({"type": "Unigram", "unk_id": 0, "vocab": [["<unk>", 0.0], ["a", -1.5]]})"}) {
    const std::string text = std::string(R"({"version": "1.0", "added_tokens": [], "model": )") + model + "}";
    for (size_t n = 0; n < text.size(); ++n) {
      EXPECT_NE(refused_text(text.substr(0, n)).find("small.json"), std::string::npos) << n;
    }
  }
}

// The documents of JSONTestSuite, one a line with a name: none is a tokenizer, none does harm.
TEST(TokenizerJson, RefusesEveryFileOfTheJsonTestSuite) {
  std::ifstream in(std::string(NANOCHAT_TEST_DATA) + "/json/json_test_suite.txt");
  size_t n = 0;
  for (std::string line; std::getline(in, line);) {
    const size_t tab = line.find('\t');
    if (tab == std::string::npos) continue;
    std::string bytes;
    for (size_t i = tab + 1; i < line.size(); ++i) {
      const bool is_escape = line[i] == '\\' && i + 3 < line.size();
      bytes += is_escape ? static_cast<char>(std::stoi(line.substr(i + 2, 2), nullptr, 16)) : line[i];
      i += is_escape ? 3 : 0;
    }
    ++n;
    EXPECT_NE(refused_text(bytes).find("small.json"), std::string::npos) << line;
    const std::string inside = R"({"model": {"type": "BPE", "vocab": {"a": 0}, "merges": )" + bytes + "}}";
    try {
      parse_tokenizer_json(inside, "small.json");
    } catch (const Error& error) {
      EXPECT_EQ(error.subject(), "small.json") << line;
    }
  }
  EXPECT_GE(n, 300u);
  std::string deep;
  for (int i = 0; i < 50000; ++i) deep += "[{\"\":";
  EXPECT_NE(refused_text(deep).find("levels"), std::string::npos);
  EXPECT_NE(refused_text(std::string(100000, '[')).find("levels"), std::string::npos);
}

TEST(TokenizerJson, RefusesTextThatIsNotOneDocument) {
  for (const char* text :
       {"", "[]", "{", "{\"model\": 1}", "{} {}", "{\"model\":{\"vocab\":{\"a\":0,\"a\":1},\"merges\":[]}}",
        "{\"a\":1,\"a\":2}", "{\"model\":{\"vocab\":{},\"merges\":[],\"vocab\":{}}}", "\xff"}) {
    EXPECT_NE(refused_text(text).find("small.json"), std::string::npos);
  }
  EXPECT_NE(refused_text(std::string(100, '[')).find("64 levels"), std::string::npos);
}

TEST(TokenizerJson, ReadsTheReferencesOwnForm) {
  for (const char* name : {"mixed_2048", "tiny_ties_300"}) {
    const auto tokenizer = load_tokenizer(sample_path(std::string("golden/") + name + "/tokenizer.json"));
    EXPECT_EQ(tokenizer->specials().size(), 9u);
    EXPECT_EQ(tokenizer->special_id("<|bos|>"), tokenizer->bos());
    EXPECT_EQ(tokenizer->bos(), tokenizer->vocab_size() - 9);
    for (const json& sample : read_sample_json(std::string("golden/") + name + "/encode.json")) {
      EXPECT_EQ(tokenizer->encode(sample["text"].get<std::string>()),
                sample["ids"].get<std::vector<TokenId>>());
    }
  }
}

TEST(TokenizerJson, FindsSpecialTokensInTextOnlyIfAsked) {
  const auto tokenizer = load_tokenizer(sample_path("golden/mixed_512/tokenizer.json"));
  const std::string text = "a<|bos|>b";
  EXPECT_EQ(tokenizer->encode(text, {SpecialsInText::all, AddSpecials::no}),
            (std::vector<TokenId>{97, tokenizer->bos(), 98}));
  EXPECT_GT(tokenizer->encode(text).size(), 3u);
  EXPECT_TRUE(tokenizer->is_special(tokenizer->bos()));
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{97, tokenizer->bos(), 98}, true), "ab");
  EXPECT_EQ(tokenizer->decode(std::vector<TokenId>{97, tokenizer->bos(), 98}, false), text);
}

TEST(TokenizerJson, NamesTheIdThatNoTokenHas) {
  const auto tokenizer = parse_tokenizer_json(small_file().dump(), "small.json");
  for (const TokenId id : {-1, 4, 1 << 30}) {
    try {
      tokenizer->decode(std::vector<TokenId>{0, id}, false);
      ADD_FAILURE();
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::out_of_range);
      EXPECT_NE(error.message().find(std::to_string(id)), std::string::npos) << error.message();
      EXPECT_NE(error.message().find("vocabulary size is 4"), std::string::npos) << error.message();
    }
  }
}

}  // namespace
}  // namespace nanochat
