// nanochat bench decode | prefill | load: speed against what this machine can do, measured in the same run.
#include <algorithm>
#include <chrono>
#include <filesystem>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>
#include <unistd.h>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"
#include "token_list.h"

namespace nanochat::cli {
namespace {

using Json = nlohmann::ordered_json;

struct Bench {
  ModelChoice model;
  std::string synthetic;
  int64_t tokens = 0;         // 0: the command's default
  int64_t prompt_tokens = 8;  // decode
  int32_t repeats = 3;
  bool json = false;
};

struct Opened {
  Runtime runtime;
  Model model;
  nanochat_model_info info{};
};

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

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

// The most memory this process ever had resident.
uint64_t peak_memory_bytes() {
  constexpr std::string_view kKey = "VmHWM:";
  constexpr uint64_t kUnitBytes = 1024;
  LineReader lines("/proc/self/status");
  for (std::string_view line; lines.next(line);) {
    if (line.starts_with(kKey)) return std::stoull(std::string(line.substr(kKey.size()))) * kUnitBytes;
  }
  return 0;
}

double median(std::vector<double> values) {
  const auto middle = values.begin() + static_cast<std::ptrdiff_t>(values.size() / 2);
  std::nth_element(values.begin(), middle, values.end());
  return *middle;
}

Model open_benched(const Runtime& runtime, const Bench& bench) {
  return bench.synthetic.empty() ? open_model(runtime, bench.model)
                                 : make_random_model(runtime, bench.synthetic, bench.model);
}

Opened open_all(const Bench& bench) {
  Opened opened;
  opened.runtime = open_runtime(bench.model);
  opened.model = open_benched(opened.runtime, bench);
  opened.info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, opened.model.get());
  return opened;
}

// Some ids of the vocabulary; which ones makes no difference to the speed.
TokenList some_tokens(int64_t n, int64_t vocab_size) {
  constexpr int64_t kStride = 7919;
  TokenList ids;
  for (int64_t i = 0; i < n; ++i) ids.push_back(static_cast<int32_t>((i * kStride + 1) % vocab_size));
  return ids;
}

// What every benchmark reports; speeds and shares are filled in by report().
Json facts(const char* kind, const Bench& bench, const nanochat_runtime* runtime,
           const nanochat_model_info& info) {
  return {{"schema", "nanochat-bench-1"},
          {"bench", kind},
          {"model", bench.synthetic.empty() ? bench.model.directory : bench.synthetic},
          {"version", nanochat_version_string()},
          {"device", nanochat_runtime_device(runtime)},
          {"isa", nanochat_runtime_isa(runtime)},
          {"threads", nanochat_runtime_n_threads(runtime)},
          {"dtype", dtype_name(info.weights)},
          {"kv_dtype", bench.model.kv_dtype.empty() ? "f32" : bench.model.kv_dtype},
          {"parameters", info.parameters},
          {"weight_bytes", info.weight_bytes}};
}

struct Speed {
  double tokens_per_second = 0;
  double bytes_per_second = 0;
  double flops_per_second = 0;
};

// Of the instruction that these weights are multiplied with.
double arithmetic_rate(const nanochat_rates_info& rates, int32_t weights) {
  if (weights == NANOCHAT_WEIGHTS_INT8) return rates.int8_ops_per_second;
  return weights == NANOCHAT_WEIGHTS_BF16 ? rates.bf16_flops_per_second : rates.f32_flops_per_second;
}

// Adds speeds, peak memory and the machine's own rates, and prints. Rates come last: measuring them takes
// memory.
void report(Json facts, const Speed& speed, const Bench& bench, const nanochat_runtime* runtime,
            int32_t weights) {
  facts["peak_memory_bytes"] = peak_memory_bytes();
  const auto rates = fill<nanochat_rates_info>(Exit::running, nanochat_runtime_measure_rates, runtime);
  const double flops = arithmetic_rate(rates, weights);
  const auto share = [](double part, double whole) { return whole > 0 ? part / whole : 0.0; };
  if (speed.tokens_per_second > 0) facts["tokens_per_second"] = speed.tokens_per_second;
  facts["bytes_per_second"] = speed.bytes_per_second;
  facts["bandwidth_share"] = share(speed.bytes_per_second, rates.read_bytes_per_second);
  facts["arithmetic_share"] = share(speed.flops_per_second, flops);
  facts["machine_read_bytes_per_second"] = rates.read_bytes_per_second;
  facts["machine_flops_per_second"] = flops;
  if (!bench.json) {
    std::string text;
    for (const auto& [name, value] : facts.items()) text += name + ": " + value.dump() + "\n";
    write_stdout(text);
  }
  write_stdout(facts.dump() + "\n");
}

void run_decode(const Bench& bench) {
  constexpr int64_t kDefaultTokens = 64;
  const int64_t n_tokens = bench.tokens > 0 ? bench.tokens : kDefaultTokens;
  const Opened opened = open_all(bench);
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
  Json line = facts("decode", bench, opened.runtime.get(), opened.info);
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
  const Opened opened = open_all(bench);
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
  Json line = facts("prefill", bench, opened.runtime.get(), opened.info);
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
  Json line = facts("load", bench, runtime.get(), info);
  line["tokens"] = 0;
  line["repeats"] = bench.repeats;
  line["seconds"] = median(seconds);
  line["file_bytes"] = plan.file_bytes;
  report(line, {0, static_cast<double>(plan.file_bytes) / median(seconds), 0}, bench, runtime.get(),
         info.weights);
}

void add_bench(CLI::App& group, const char* name, const char* what, void (*run)(const Bench&)) {
  constexpr int32_t kMaxTokens = 1 << 20;
  CLI::App* command = group.add_subcommand(name, what);
  auto bench = std::make_shared<Bench>();
  CLI::Option* model = add_model_options(*command, bench->model, Tokenized::no);
  add_kv_option(*command, bench->model);
  command
      ->add_option("--synthetic", bench->synthetic,
                   "Random weights of a shape, such as v0-d20, instead of --model")
      ->type_name("SHAPE")
      ->excludes(model);
  if (run != run_load) {
    command
        ->add_option("--tokens", bench->tokens,
                     "Tokens to measure; 64 (decode) or 512 (prefill) if not given")
        ->check(within(run == run_decode ? 2 : 1, kMaxTokens));
  }
  if (run == run_decode) {
    command->add_option("--prompt-tokens", bench->prompt_tokens, "Tokens before the first one")
        ->check(within(1, kMaxTokens))
        ->capture_default_str();
  }
  command->add_option("--repeats", bench->repeats, "Runs; the median counts")
      ->check(within(1, 1000))
      ->capture_default_str();
  command->add_flag("--json", bench->json, "Only the JSON object, which is the last line in any case");
  command->callback([bench, run] {
    if (bench->model.directory.empty() && bench->synthetic.empty())
      throw CLI::RequiredError("--model or --synthetic");
    run(*bench);
  });
}

}  // namespace

void add_bench_commands(CLI::App& app) {
  CLI::App* group =
      app.add_subcommand("bench", "Measure decoding, prompts or loading against this machine's limits");
  group->require_subcommand(1);
  add_bench(*group, "decode", "Tokens one after another", run_decode);
  add_bench(*group, "prefill", "A prompt in one call", run_prefill);
  add_bench(*group, "load", "Loading from the page cache", run_load);
}

}  // namespace nanochat::cli
