// nanochat bench decode | prefill | load | batch | embed | tokenizer: speed against what this machine can do,
// measured in the same run.
#include <algorithm>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <unistd.h>

#include "bench.h"
#include "commands.h"
#include "interrupt.h"
#include "sampling.h"

namespace nanochat::cli {
namespace {

// A folder of its own under the system's temporary one, gone at the end.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "nanochat-bench-XXXXXX").string();
    if (::mkdtemp(name.data()) == nullptr) throw Failure(Exit::running, name + ": cannot create");
    path_ = name;
  }
  ~TemporaryFolder() {
    std::error_code error;
    std::filesystem::remove_all(path_, error);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;
  const std::string& path() const { return path_; }

 private:
  std::string path_;
};

void run_decode(const Bench& bench) {
  constexpr int64_t kDefaultTokens = 64;
  const int64_t n_tokens = bench.tokens > 0 ? bench.tokens : kDefaultTokens;
  const BenchedModel opened = open_benched(bench);
  const TokenList prompt = some_tokens(bench.prompt_tokens, opened.info.vocab_size);
  std::vector<double> seconds;
  std::vector<double> first_token_seconds;
  for (int32_t i = 0; i < bench.repeats; ++i) {
    Sampling sampling;
    sampling.temperature = 0;
    sampling.max_tokens = n_tokens;
    const GenerationSettings settings(sampling, 0);
    nanochat_generation_options options = *settings.get();
    options.ignore_end = 1;
    const Session session = make_session(opened.model.get(), bench.model, bench.prompt_tokens + n_tokens);
    const auto generation = make<Generation>(Exit::running, nanochat_generation_start, session.get(), nullptr,
                                             prompt.data(), prompt.size(), &options);
    Generated generated;
    generate(generation.get(), generated, [](std::string_view, size_t) {});
    seconds.push_back(generated.info.decode_seconds);
    first_token_seconds.push_back(generated.info.prompt_seconds);
  }
  // The first token belongs to the prompt: the others were decoded.
  const double rate = static_cast<double>(n_tokens - 1) / median(seconds);
  BenchJson line = bench_facts("decode", bench, opened.runtime.get(), opened.info);
  line["tokens"] = n_tokens;
  line["prompt_tokens"] = bench.prompt_tokens;
  line["repeats"] = bench.repeats;
  line["seconds"] = median(seconds);
  line["first_token_ms"] = median(first_token_seconds) * 1e3;
  line["bytes_per_token"] = opened.info.bytes_per_decoded_token;
  const Speed speed{rate, rate * static_cast<double>(opened.info.bytes_per_decoded_token),
                    rate * static_cast<double>(opened.info.flops_per_decoded_token)};
  report(line, speed, bench, opened.runtime.get(), opened.info.weights);
}

// Arithmetic of a prompt whose last token alone goes through the output matrix.
double prefill_flops(const nanochat_model_info& info, int64_t n_tokens) {
  const double head = 2.0 * static_cast<double>(info.vocab_size) * static_cast<double>(info.n_embd);
  const double body = static_cast<double>(info.flops_per_decoded_token) - head;
  return body * static_cast<double>(n_tokens) + head;
}

void run_prefill(const Bench& bench) {
  constexpr int64_t kDefaultTokens = 512;
  const BenchedModel opened = open_benched(bench);
  const int64_t n_tokens =
      bench.tokens > 0 ? bench.tokens : std::min(kDefaultTokens, opened.info.sequence_len);
  const TokenList tokens = some_tokens(n_tokens, opened.info.vocab_size);
  std::vector<float> logits(static_cast<size_t>(opened.info.vocab_size));
  std::vector<double> seconds;
  for (int32_t i = 0; i < bench.repeats; ++i) {
    const Session session = make_session(opened.model.get(), bench.model, n_tokens);
    const Stopwatch watch;
    call(Exit::running, nanochat_session_eval, session.get(), tokens.data(), tokens.size(),
         NANOCHAT_LOGITS_LAST, logits.data(), logits.size(), interrupt_switch());
    seconds.push_back(watch.seconds());
  }
  const double took = median(seconds);
  BenchJson line = bench_facts("prefill", bench, opened.runtime.get(), opened.info);
  line["tokens"] = n_tokens;
  line["repeats"] = bench.repeats;
  line["seconds"] = took;
  line["first_token_ms"] = took * 1e3;
  line["bytes_per_token"] =
      static_cast<double>(opened.info.bytes_per_decoded_token) / static_cast<double>(n_tokens);
  const Speed speed{static_cast<double>(n_tokens) / took,
                    static_cast<double>(opened.info.bytes_per_decoded_token) / took,
                    prefill_flops(opened.info, n_tokens) / took};
  report(line, speed, bench, opened.runtime.get(), opened.info.weights);
}

void run_load(const Bench& bench) {
  const Runtime runtime = open_runtime(bench.model);
  std::unique_ptr<TemporaryFolder> folder;
  ModelChoice choice = bench.model;
  if (!bench.synthetic.empty()) {
    folder = std::make_unique<TemporaryFolder>();
    ModelChoice stored = bench.model;
    if (stored.dtype == "int8") stored.dtype = "bf16";  // what a load quantises
    const Model model = make_random_model(runtime, bench.synthetic, stored);
    nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
    options.cancel = interrupt_switch();
    call(Exit::running, nanochat_model_save, model.get(), folder->path().c_str(), &options);
    choice.directory = folder->path();
  }
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.weights = weights_of(choice);
  const auto plan = fill<nanochat_model_plan_info>(Exit::loading, nanochat_model_plan, runtime.get(),
                                                   choice.directory.c_str(), &options);
  std::vector<double> seconds;
  nanochat_model_info info{};
  for (int32_t i = 0; i <= bench.repeats; ++i) {
    const Stopwatch watch;
    const Model model = open_model(runtime, choice);
    if (i > 0)
      seconds.push_back(watch.seconds());  // the first load only brings the files into the page cache
    info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, model.get());
  }
  BenchJson line = bench_facts("load", bench, runtime.get(), info);
  line["tokens"] = 0;
  line["repeats"] = bench.repeats;
  line["seconds"] = median(seconds);
  line["file_bytes"] = plan.file_bytes;
  report(line, {0, static_cast<double>(plan.file_bytes) / median(seconds), 0}, bench, runtime.get(),
         info.weights);
}

void add_batch_options(CLI::App& command, Bench& bench) {
  constexpr int32_t kMaxSessions = 4096;
  command.add_option("--sessions", bench.sessions, "How many at once, one after another")
      ->type_name("N,N,...")
      ->delimiter(',')
      ->check(within(1, kMaxSessions))
      ->capture_default_str();
  command.add_option("--draft-tokens", bench.draft_tokens, "Tokens to guess per session and pass")
      ->check(within(0, 64))
      ->capture_default_str();
  command
      .add_option("--prompt-again", bench.prompt_again,
                  "Also time a prompt of so many tokens, and the same again with what the first one left")
      ->check(within(0, 1 << 20));
}

void add_bench(CLI::App& group, const char* name, const char* what, void (*run)(const Bench&)) {
  constexpr int32_t kMaxTokens = 1 << 20;
  CLI::App* command = group.add_subcommand(name, what);
  auto bench = std::make_shared<Bench>();
  CLI::Option* model = add_model_options(*command, bench->model, Tokenized::no);
  add_synthetic_option(*command, bench->synthetic, model);
  if (run == run_embed) {
    command->add_option("--tokens", bench->tokens, "Tokens of a text; 128 if not given")
        ->check(within(1, kMaxTokens));
    command->add_option("--texts", bench->texts, "Texts in a call")
        ->check(within(1, 4096))
        ->capture_default_str();
  } else if (run != run_load) {
    add_kv_option(*command, bench->model);
    command
        ->add_option("--tokens", bench->tokens,
                     "Tokens to measure; 64 (decode), 512 (prefill) or 32 each (batch) if not given")
        ->check(within(run == run_prefill ? 1 : 2, kMaxTokens));
  }
  if (run == run_batch) add_batch_options(*command, *bench);
  if (run == run_decode || run == run_batch) {
    command->add_option("--prompt-tokens", bench->prompt_tokens, "Tokens before the first one")
        ->check(within(1, kMaxTokens))
        ->capture_default_str();
  }
  command->add_option("--repeats", bench->repeats, "Runs; the median counts")
      ->check(within(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", bench->json, "Only the JSON object, which is the last line in any case");
  command->callback([bench, run] {
    require_model(bench->model, bench->synthetic);
    run(*bench);
  });
}

}  // namespace

void add_bench_commands(CLI::App& app) {
  CLI::App* group = app.add_subcommand(
      "bench", "Measure decoding, prompts, loading, batches or embedding against this machine's limits");
  group->require_subcommand(1);
  add_bench(*group, "decode", "Tokens one after another", run_decode);
  add_bench(*group, "prefill", "A prompt in one call", run_prefill);
  add_bench(*group, "load", "Loading from the page cache", run_load);
  add_bench(*group, "batch", "Many sessions at once", run_batch);
  add_bench(*group, "embed", "Texts to vectors", run_embed);
  add_bench_tokenizer(*group);
}

}  // namespace nanochat::cli
