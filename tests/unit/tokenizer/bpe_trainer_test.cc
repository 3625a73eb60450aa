#include "tokenizer/bpe_trainer.h"

#include <map>
#include <random>
#include <string>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "tokenizer/split_scanner.h"

namespace nanochat {
namespace {

using json = nlohmann::ordered_json;

std::string golden_path(const std::string& name) {
  return std::string(NANOCHAT_TEST_DATA) + "/golden/tokenizer/" + name;
}

json read_golden(const std::string& name) { return json::parse(read_file(golden_path(name))); }

std::vector<std::string> read_corpus(const std::string& name) {
  if (file_exists(golden_path("corpus/" + name + ".txt")))
    return {read_file(golden_path("corpus/" + name + ".txt"))};
  const std::string lines = read_file(golden_path("corpus/" + name + ".jsonl"));
  std::vector<std::string> documents;
  for (size_t begin = 0; begin < lines.size();) {
    const size_t end = std::min(lines.find('\n', begin), lines.size());
    documents.push_back(json::parse(std::string_view(lines).substr(begin, end - begin)).get<std::string>());
    begin = end + 1;
  }
  return documents;
}

std::string hex(std::string_view bytes) {
  std::string text;
  for (const char c : bytes) {
    text += "0123456789abcdef"[static_cast<unsigned char>(c) >> 4];
    text += "0123456789abcdef"[static_cast<unsigned char>(c) & 15];
  }
  return text;
}

BpeTrainOptions options_of(int32_t vocab_size) {
  BpeTrainOptions options;
  options.vocab_size = vocab_size;
  return options;
}

BpeTrainResult train(const BpeTrainer& trainer, const Watch& watch = {}, int n_threads = 2) {
  ThreadPool::Options options;
  options.n_threads = n_threads;
  ThreadPool threads(options);
  return trainer.train(threads, watch);
}

template <class F>
std::string message_of(F&& action) {
  try {
    action();
  } catch (const Error& error) {
    return error.message();
  }
  return "(no error)";
}

class EveryGoldenTokenizer : public testing::TestWithParam<const char*> {};
INSTANTIATE_TEST_SUITE_P(Bpe, EveryGoldenTokenizer,
                         testing::Values("mixed_512", "mixed_2048", "tiny_ties_300", "tinyshakespeare_512",
                                         "tinyshakespeare_2048"),
                         [](const auto& tested) { return std::string(tested.param); });

TEST_P(EveryGoldenTokenizer, ComesOutOfItsCorpusExactly) {
  const json golden = read_golden(std::string(GetParam()) + "/tokenizer.json");
  BpeTrainer trainer(options_of(golden["requested_vocab_size"]));
  for (const std::string& document : read_corpus(golden["corpus"])) trainer.add_document(document);
  const BpeTrainResult result = train(trainer);

  using Merges = std::vector<std::pair<TokenId, TokenId>>;
  EXPECT_EQ(result.merges, golden["merges"].get<Merges>());
  EXPECT_EQ(result.merge_counts, golden["merge_counts"].get<std::vector<uint64_t>>());
  std::vector<std::string> tokens_hex;
  for (const std::string& bytes : result.token_bytes) tokens_hex.push_back(hex(bytes));
  EXPECT_EQ(tokens_hex, golden["tokens_hex"].get<std::vector<std::string>>());
}

TEST_P(EveryGoldenTokenizer, EncodesAsTheGoldenOneDoes) {
  const json golden = read_golden(std::string(GetParam()) + "/tokenizer.json");
  BpeTrainer trainer(options_of(golden["requested_vocab_size"]));
  for (const std::string& document : read_corpus(golden["corpus"])) trainer.add_document(document);
  const auto tokenizer = trainer.make_tokenizer(train(trainer));
  EXPECT_EQ(tokenizer->vocab_size(), golden["vocab_size"].get<int32_t>());
  for (const auto& [text, id] : golden["special_tokens"].items()) {
    EXPECT_EQ(tokenizer->special_id(text), id.get<TokenId>()) << text;
  }
  EXPECT_EQ(tokenizer->bos(), golden["special_tokens"]["<|bos|>"].get<TokenId>());
  const json cases = read_golden(std::string(GetParam()) + "/encode.json");
  for (const json& item : cases) {
    EXPECT_EQ(tokenizer->encode(item["text"].get<std::string>()), item["ids"].get<std::vector<TokenId>>())
        << item["text"].dump();
  }
}

// The textbook: recount everything before each merge.
BpeTrainResult train_slowly(const std::vector<std::string>& documents, size_t n_merges) {
  std::map<std::string, uint64_t> counts;
  for (const std::string& text : documents) {
    for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
      end = piece_end(SplitPattern::nanochat, text, begin);
      ++counts[text.substr(begin, end - begin)];
    }
  }
  std::vector<std::pair<std::vector<TokenId>, uint64_t>> pieces;
  for (const auto& [piece, n] : counts) {
    pieces.push_back({{}, n});
    for (const char c : piece) pieces.back().first.push_back(static_cast<unsigned char>(c));
  }
  BpeTrainResult result;
  while (result.merges.size() < n_merges) {
    std::map<std::pair<TokenId, TokenId>, uint64_t> pairs;
    for (const auto& [ids, n] : pieces) {
      for (size_t i = 0; i + 1 < ids.size(); ++i) pairs[{ids[i], ids[i + 1]}] += n;
    }
    if (pairs.empty()) break;
    auto best = pairs.begin();
    for (auto at = pairs.begin(); at != pairs.end(); ++at) {
      if (at->second > best->second) best = at;
    }
    const auto made = static_cast<TokenId>(256 + result.merges.size());
    result.merges.push_back(best->first);
    result.merge_counts.push_back(best->second);
    for (auto& [ids, n] : pieces) {
      std::vector<TokenId> merged;
      for (size_t i = 0; i < ids.size(); ++i) {
        const bool found =
            i + 1 < ids.size() && ids[i] == best->first.first && ids[i + 1] == best->first.second;
        merged.push_back(found ? made : ids[i]);
        i += found ? 1 : 0;
      }
      ids = merged;
    }
  }
  return result;
}

TEST(BpeTrainer, AgreesWithTheTextbookOnRandomTexts) {
  std::mt19937_64 random(3);
  for (int round = 0; round < 60; ++round) {
    std::vector<std::string> documents(1 + random() % 4);
    for (std::string& document : documents) {
      const size_t length = random() % 120, n_letters = 1 + random() % 4;
      for (size_t i = 0; i < length; ++i) {
        document += random() % 8 == 0 ? ' ' : static_cast<char>('a' + random() % n_letters);
      }
      if (round % 5 == 0) document += static_cast<char>(random());  // not always UTF-8
    }
    BpeTrainer trainer(options_of(256 + 9 + 40));
    for (const std::string& document : documents) trainer.add_document(document);
    const BpeTrainResult fast = train(trainer), slow = train_slowly(documents, 40);
    ASSERT_EQ(fast.merges, slow.merges) << documents[0];
    ASSERT_EQ(fast.merge_counts, slow.merge_counts) << documents[0];
  }
}

TEST(BpeTrainer, GivesTheSameForAnyNumberOfThreads) {
  const std::vector<std::string> documents = read_corpus("mixed");
  const std::vector<std::string_view> views(documents.begin(), documents.end());
  const json golden = read_golden("mixed_512/tokenizer.json");
  for (const int n_threads : {1, 2, 5}) {
    ThreadPool::Options pool_options;
    pool_options.n_threads = n_threads;
    ThreadPool threads(pool_options);
    BpeTrainer trainer(options_of(512));
    trainer.add_documents(views, threads);
    const BpeTrainResult result = train(trainer, {}, n_threads);
    EXPECT_EQ(result.merge_counts, golden["merge_counts"].get<std::vector<uint64_t>>());
    EXPECT_EQ(result.merges, (golden["merges"].get<std::vector<std::pair<TokenId, TokenId>>>()));
  }
}

TEST(BpeTrainer, MergesOneVeryLongPieceInReasonableTime) {
  BpeTrainer trainer(options_of(256 + 9 + 500));
  std::string text;
  std::mt19937_64 random(5);
  for (int i = 0; i < 300000; ++i) text += static_cast<char>('a' + random() % 26);
  trainer.add_document(text);  // a single run of letters
  trainer.add_document(std::string(100000, 'z'));
  EXPECT_EQ(train(trainer).merges.size(), 500u);
}

TEST(BpeTrainer, StopsWhenThereIsNothingToMerge) {
  BpeTrainer trainer(options_of(1000));
  EXPECT_TRUE(train(trainer).merges.empty());
  trainer.add_document("");
  trainer.add_document("a");
  const BpeTrainResult result = train(trainer);
  EXPECT_TRUE(result.merges.empty());
  EXPECT_EQ(result.token_bytes.size(), 256u);
  EXPECT_EQ(trainer.make_tokenizer(result)->vocab_size(), 265);
}

TEST(BpeTrainer, TakesSpecialTokensOfTheCaller) {
  BpeTrainOptions options = options_of(259);
  options.special_tokens = {"<s>", "</s>"};
  BpeTrainer trainer(options);
  trainer.add_document("aa aa");
  const BpeTrainResult result = train(trainer);
  EXPECT_EQ(result.merges.size(), 1u);
  const auto tokenizer = trainer.make_tokenizer(result);
  EXPECT_EQ(tokenizer->special_id("<s>"), 257);
  EXPECT_EQ(tokenizer->special_id("</s>"), 258);
  EXPECT_EQ(nanochat_special_tokens().size(), 9u);
}

TEST(BpeTrainer, RefusesOptionsByName) {
  EXPECT_EQ(message_of([] { BpeTrainer{options_of(264)}; }),
            "vocab_size is 264, expected at least 265 (256 bytes and 9 special tokens)");
  EXPECT_EQ(message_of([] { BpeTrainer{options_of(-1)}; }),
            "vocab_size is -1, expected at least 265 (256 bytes and 9 special tokens)");
  BpeTrainOptions options = options_of(1000);
  options.special_tokens = {"<a>", "<b>", "<a>"};
  EXPECT_EQ(message_of([&] { BpeTrainer{options}; }),
            "special_tokens[2] is '<a>', expected a text that is not empty and occurs once");
  options.special_tokens = {""};
  EXPECT_EQ(message_of([&] { BpeTrainer{options}; }),
            "special_tokens[0] is '', expected a text that is not empty and occurs once");
}

TEST(BpeTrainer, CanBeWatchedAndStopped) {
  BpeTrainer trainer(options_of(512));
  for (const std::string& document : read_corpus("mixed")) trainer.add_document(document);
  uint64_t last = 0, n_reports = 0;
  Watch watch;
  watch.on_progress = [&](const Progress& progress) {
    if (std::string_view(progress.stage) == "merge") {
      EXPECT_GE(progress.done, last);
      EXPECT_LE(progress.done, progress.total);
      last = progress.done;
      ++n_reports;
    }
    return true;
  };
  const BpeTrainResult whole = train(trainer, watch);
  EXPECT_EQ(last, whole.merges.size());
  EXPECT_GT(n_reports, 2u);

  watch.on_progress = [](const Progress& progress) { return progress.done < 100; };
  EXPECT_THROW(train(trainer, watch), Error);
  CancelToken cancel;
  cancel.request();
  watch.on_progress = nullptr;
  watch.cancel = &cancel;
  EXPECT_EQ(message_of([&] { train(trainer, watch); }), "cancelled by the caller");
  EXPECT_EQ(train(trainer).merges, whole.merges);  // the trainer is as it was
}

}  // namespace
}  // namespace nanochat
