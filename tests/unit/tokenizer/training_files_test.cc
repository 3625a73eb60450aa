#include "tokenizer/training_files.h"

#include <string>
#include <vector>

#include <gtest/gtest.h>
#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/file.h"
#include "io/safetensors.h"
#include "io/zstd_stream.h"
#include "tokenizer/vocabulary_file.h"
#include "unit/io/scratch_folder.h"

namespace nanochat {
namespace {

using json = nlohmann::json;

std::string data(const std::string& name) { return std::string(NANOCHAT_TEST_DATA) + "/" + name; }
std::string shakespeare() { return read_file(data("golden/tokenizer/corpus/tinyshakespeare.txt")); }

BpeTrainOptions options_of(int32_t vocab_size) {
  BpeTrainOptions options;
  options.vocab_size = vocab_size;
  return options;
}

BpeTrainResult train(const BpeTrainOptions& options, const TrainingFiles& files, int n_threads = 2,
                     const Watch& watch = {}) {
  ThreadPool::Options pool_options;
  pool_options.n_threads = n_threads;
  ThreadPool threads(pool_options);
  BpeTrainer trainer(options);
  add_document_files(trainer, files, threads, watch);
  return trainer.train(threads, watch);
}

TrainingFiles files_of(std::vector<std::string> paths) {
  TrainingFiles files;
  files.paths = std::move(paths);
  return files;
}

std::string error_of(const TrainingFiles& files) {
  try {
    train(options_of(300), files);
  } catch (const Error& error) {
    return error.message();
  }
  return "(no error)";
}

// The golden merges of one document, however it comes.
TEST(TrainingFiles, GiveTheReferencesMergesInEveryForm) {
  const ScratchFolder scratch;
  const std::string text = shakespeare();
  const json golden = json::parse(read_file(data("golden/tokenizer/tinyshakespeare_2048/tokenizer.json")));
  const std::string line = json{{"id", 1}, {"text", text}}.dump() + "\n";
  const std::vector<std::string> paths = {scratch.write("a.txt", text), scratch.write("b.jsonl", line),
                                          scratch.write("c.txt.zst", compress_zstd(as_bytes(text))),
                                          scratch.write("d.jsonl.zst", compress_zstd(as_bytes(line)))};
  for (const std::string& path : paths) {
    for (const uint64_t limit : {uint64_t{0}, uint64_t{1} << 24}) {
      BpeTrainOptions options = options_of(golden["requested_vocab_size"]);
      options.memory_limit = limit;
      options.spill_folder = scratch.path();
      const BpeTrainResult result = train(options, files_of({path}));
      EXPECT_EQ(result.merge_counts, golden["merge_counts"].get<std::vector<uint64_t>>()) << path;
      EXPECT_EQ(result.merges, (golden["merges"].get<std::vector<std::pair<TokenId, TokenId>>>())) << path;
    }
  }
}

TEST(TrainingFiles, ReadAFolderAsItsFiles) {
  const ScratchFolder scratch, other;
  scratch.write("1.txt", "aa bb");
  scratch.write("2.jsonl", "{\"text\":\"aa cc\"}\n  \n{\"text\":\"dd aa\"}\n");
  scratch.write("notes.md", "zz zz zz zz zz");
  other.write("all.jsonl", "{\"body\":\"aa bb\"}\n{\"body\":\"aa cc\"}\n{\"body\":\"dd aa\"}\n");
  TrainingFiles by_field = files_of({other.path()});
  by_field.text_field = "body";
  const BpeTrainResult result = train(options_of(300), files_of({scratch.path()}));
  EXPECT_EQ(result.merges[0], (std::pair<TokenId, TokenId>('a', 'a')));
  EXPECT_EQ(result.merge_counts[0], 3u);
  EXPECT_EQ(train(options_of(300), by_field).merges, result.merges);
}

TEST(TrainingFiles, NameTheFirstWrongLine) {
  const ScratchFolder scratch;
  std::string lines;
  for (int i = 1; i <= 5000; ++i) lines += i % 1000 == 777 ? "{\"text\": 5}\n" : "{\"text\": \"word\"}\n";
  const std::string path = scratch.write("a.jsonl", lines);
  for (int round = 0; round < 5; ++round) {
    EXPECT_EQ(error_of(files_of({path})),
              path + ": line 777: expected an object with the text in \"text\", found number there");
  }
  const std::string broken = scratch.write("b.jsonl", "{\"text\":\"a\"}\n{\"text\":\"b\"\n");
  EXPECT_EQ(error_of(files_of({broken})).find(broken + ": line 2: not valid JSON at byte"), 0u)
      << error_of(files_of({broken}));
  EXPECT_NE(error_of(files_of({scratch.file("absent.txt")})).find("absent.txt: cannot open"),
            std::string::npos);
}

TEST(TrainingFiles, CanBeWatchedAndStopped) {
  const ScratchFolder scratch;
  std::string text;
  for (int i = 0; i < 40; ++i) text += shakespeare();
  const std::string path = scratch.write("a.txt", text);
  uint64_t last = 0, n_reports = 0;
  Watch watch;
  watch.on_progress = [&](const Progress& progress) {
    if (std::string_view(progress.stage) != "read") return true;
    EXPECT_GE(progress.done, last);
    EXPECT_EQ(progress.total, text.size());
    last = progress.done;
    ++n_reports;
    return true;
  };
  train(options_of(270), files_of({path}), 2, watch);
  EXPECT_EQ(last, text.size());
  EXPECT_GT(n_reports, 4u);
  watch.on_progress = [](const Progress& progress) { return progress.done < (1 << 21); };
  EXPECT_THROW(train(options_of(270), files_of({path}), 2, watch), Error);
}

TEST(VocabularyFile, HoldsTheBytesOfEveryTokenAsTheReference) {
  const ScratchFolder scratch;
  const json golden = json::parse(read_file(data("golden/tokenizer/mixed_512/tokenizer.json")));
  const auto tokenizer = load_tokenizer(data("golden/tokenizer/mixed_512/tokenizer.json"));
  const std::string path = scratch.file("token_bytes.safetensors");
  write_token_bytes(*tokenizer, path);
  const SafetensorsFile file(path);
  const TensorInfo* info = file.find("token_bytes");
  ASSERT_NE(info, nullptr);
  EXPECT_EQ(info->dtype, DType::i32);
  EXPECT_EQ(info->shape, Shape{tokenizer->vocab_size()});
  std::vector<int32_t> found(static_cast<size_t>(tokenizer->vocab_size()));
  file.file().read_at(info->offset, std::as_writable_bytes(std::span(found)));
  EXPECT_EQ(found, golden["token_bytes"].get<std::vector<int32_t>>());
}

TEST(VocabularyFile, GivesRanksThatLoadAgain) {
  const ScratchFolder scratch;
  TrainingFiles files = files_of({data("golden/tokenizer/corpus/tinyshakespeare.txt")});
  BpeTrainer trainer(options_of(700));
  ThreadPool threads(ThreadPool::Options{});
  add_document_files(trainer, files, threads, {});
  const auto trained = trainer.make_tokenizer(trainer.train(threads, {}));
  const std::string ranks = tiktoken_ranks(*trained);
  EXPECT_EQ(ranks.substr(0, 14), "AA== 0\nAQ== 1\n");
  const auto loaded =
      load_tiktoken(scratch.write("a.tiktoken", ranks), SplitPattern::nanochat, trained->specials());
  const auto from_json = parse_tokenizer_json(trained->to_json(), "a");
  EXPECT_EQ(tiktoken_ranks(*loaded), ranks);
  EXPECT_EQ(tiktoken_ranks(*from_json), ranks);
  const std::string text = shakespeare().substr(0, 20000);
  EXPECT_EQ(loaded->encode(text), trained->encode(text));
}

TEST(VocabularyFile, RefusesRanksThatWouldEncodeOtherwise) {
  const auto message_of = [](const std::string& text) -> std::string {
    try {
      tiktoken_ranks(*parse_tokenizer_json(text, "a"));
    } catch (const Error& error) {
      EXPECT_EQ(error.status(), Status::unsupported);
      return error.message();
    }
    return "(no error)";
  };
  BpeTrainer trainer(options_of(256 + 9 + 2));
  trainer.add_document("aa aa aa ab ab");
  ThreadPool threads(ThreadPool::Options{});
  const auto trained = trainer.make_tokenizer(trainer.train(threads, {}));
  const json right = json::parse(trained->to_json());
  EXPECT_EQ(message_of(right.dump()), "(no error)");
  json wrong = right;
  wrong["model"]["ignore_merges"] = false;
  EXPECT_NE(message_of(wrong.dump()).find("it merges pieces that are tokens as a whole"), std::string::npos);
  wrong = right;
  wrong["model"]["merges"].erase(0);
  EXPECT_NE(message_of(wrong.dump()).find("its ranks imply"), std::string::npos);
  wrong = right;
  std::swap(wrong["model"]["merges"][0], wrong["model"]["merges"][1]);
  EXPECT_NE(message_of(wrong.dump()).find("not in the order of its ids"), std::string::npos);
}

}  // namespace
}  // namespace nanochat
