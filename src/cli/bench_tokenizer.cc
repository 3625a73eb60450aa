// nanochat bench tokenizer: loading, encoding on one and on all threads, counting, decoding.
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "bench.h"
#include "commands.h"
#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr size_t kPieceBytes = size_t{1} << 16;  // of the text, for the batch: whole lines

struct TokenizerBench {
  std::string tokenizer;
  std::string text;
  std::string pattern = "nanochat";
  ModelChoice machine;  // threads
  int32_t repeats = 5;
  bool json = false;
};

int32_t pattern_number(const std::string& name) {
  const std::vector<std::pair<std::string, int32_t>> known = {{"nanochat", NANOCHAT_PATTERN_NANOCHAT},
                                                              {"gpt2", NANOCHAT_PATTERN_GPT2},
                                                              {"cl100k", NANOCHAT_PATTERN_CL100K},
                                                              {"o200k", NANOCHAT_PATTERN_O200K},
                                                              {"llama3", NANOCHAT_PATTERN_LLAMA3}};
  for (const auto& [text, number] : known) {
    if (text == name) return number;
  }
  return NANOCHAT_PATTERN_DEFAULT;
}

Tokenizer load(const nanochat_runtime* runtime, const TokenizerBench& bench) {
  nanochat_tokenizer_options options = NANOCHAT_TOKENIZER_OPTIONS_INIT;
  options.pattern = pattern_number(bench.pattern);
  return make<Tokenizer>(Exit::loading, nanochat_tokenizer_load, runtime, bench.tokenizer.c_str(), &options);
}

// The median of the seconds that `run` takes.
template <class Run>
double timed(int32_t repeats, const Run& run) {
  std::vector<double> seconds;
  for (int32_t i = 0; i < repeats; ++i) {
    const Stopwatch watch;
    run();
    seconds.push_back(watch.seconds());
  }
  return median(seconds);
}

struct Pieces {
  std::vector<const char*> texts;
  std::vector<size_t> sizes;
};

Pieces cut_at_lines(std::string_view text) {
  Pieces pieces;
  for (size_t begin = 0; begin < text.size();) {
    const size_t line_end = text.find('\n', begin + kPieceBytes);
    const size_t end = line_end == std::string_view::npos ? text.size() : line_end + 1;
    pieces.texts.push_back(text.data() + begin);
    pieces.sizes.push_back(end - begin);
    begin = end;
  }
  return pieces;
}

double time_batch(const nanochat_tokenizer* tokenizer, const Pieces& pieces, int32_t repeats) {
  nanochat_encode_options options = NANOCHAT_ENCODE_OPTIONS_INIT;
  options.cancel = interrupt_switch();
  return timed(repeats, [&] {
    make<Encoding>(Exit::running, nanochat_tokenizer_encode_batch, tokenizer, pieces.texts.data(),
                   pieces.sizes.data(), pieces.texts.size(), &options);
  });
}

void run(const TokenizerBench& bench) {
  const std::string text = read_whole(bench.text);
  if (text.empty()) throw Failure(Exit::loading, bench.text + ": an empty text measures nothing");
  ModelChoice one_thread = bench.machine;
  one_thread.threads = 1;
  const Runtime one = open_runtime(one_thread), all = open_runtime(bench.machine);
  const Tokenizer tokenizer = load(one.get(), bench), threaded = load(all.get(), bench);
  const double load_seconds = timed(bench.repeats, [&] { load(one.get(), bench); });

  size_t n = 0;
  const double count_seconds = timed(bench.repeats, [&] {
    call(Exit::running, nanochat_tokenizer_count, tokenizer.get(), text.data(), text.size(),
         NANOCHAT_ENCODE_PLAIN, &n);
  });
  TokenList ids(n);
  const double encode_seconds = timed(bench.repeats, [&] {
    call(Exit::running, nanochat_tokenizer_encode, tokenizer.get(), text.data(), text.size(),
         NANOCHAT_ENCODE_PLAIN, ids.data(), ids.size(), &n);
  });
  const Pieces pieces = cut_at_lines(text);
  const double batch_one = time_batch(tokenizer.get(), pieces, bench.repeats);
  const double batch_all = time_batch(threaded.get(), pieces, bench.repeats);
  const double decode_seconds = timed(bench.repeats, [&] {
    make<Text>(Exit::running, nanochat_tokenizer_decode, tokenizer.get(), ids.data(), n, 0);
  });

  const auto megabytes = static_cast<double>(text.size()) / 1e6;
  const auto tokens = static_cast<double>(n);
  const BenchJson facts = {{"schema", "nanochat-bench-1"},
                           {"bench", "tokenizer"},
                           {"tokenizer", bench.tokenizer},
                           {"version", nanochat_version_string()},
                           {"threads", nanochat_runtime_n_threads(all.get())},
                           {"vocab_size", nanochat_tokenizer_vocab_size(tokenizer.get())},
                           {"text_bytes", text.size()},
                           {"tokens", n},
                           {"repeats", bench.repeats},
                           {"load_ms", load_seconds * 1e3},
                           {"encode_megabytes_per_second", megabytes / encode_seconds},
                           {"encode_tokens_per_second", tokens / encode_seconds},
                           {"count_megabytes_per_second", megabytes / count_seconds},
                           {"batch_one_thread_megabytes_per_second", megabytes / batch_one},
                           {"batch_megabytes_per_second", megabytes / batch_all},
                           {"batch_tokens_per_second", tokens / batch_all},
                           {"batch_speedup", batch_one / batch_all},
                           {"decode_tokens_per_second", tokens / decode_seconds},
                           {"peak_memory_bytes", peak_memory_bytes()}};
  Bench printed;
  printed.json = bench.json;
  print_facts(facts, printed);
}

}  // namespace

void add_bench_tokenizer(CLI::App& group) {
  CLI::App* command = group.add_subcommand("tokenizer", "Loading, encoding, counting and decoding of a text");
  auto bench = std::make_shared<TokenizerBench>();
  command->add_option("--tokenizer", bench->tokenizer, "A tokenizer's file, or a directory")
      ->required()
      ->type_name("FILE");
  command->add_option("--text", bench->text, "The text; - is standard input")->required()->type_name("FILE");
  command->add_option("--pattern", bench->pattern, "How text is cut, for .tiktoken files")
      ->check(CLI::IsMember({"nanochat", "gpt2", "cl100k", "o200k", "llama3"}))
      ->capture_default_str();
  add_thread_option(*command, bench->machine);
  command->add_option("--repeats", bench->repeats, "Runs; the median counts")
      ->check(CLI::Range(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", bench->json, "Only the JSON object, which is the last line in any case");
  command->callback([bench] { run(*bench); });
}

}  // namespace nanochat::cli
