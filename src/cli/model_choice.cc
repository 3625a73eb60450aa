#include "model_choice.h"

#include <charconv>

#include "interrupt.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr int32_t kMaxThreads = 4096;

// Without the point and the exponent that a whole number does not need.
std::string number(double value) {
  const auto whole = static_cast<int64_t>(value);
  return static_cast<double>(whole) == value ? std::to_string(whole) : CLI::detail::to_string(value);
}

void log_to_stderr(int32_t level, const char* line, size_t size, void* /*user_data*/) {
  const char* const kind = level == NANOCHAT_LOG_ERROR     ? "nanochat: error: "
                           : level == NANOCHAT_LOG_WARNING ? "nanochat: warning: "
                                                           : "nanochat: ";
  write_stderr(kind + printable(std::string(line, size)) + "\n");
}

nanochat_model_options model_options(const ModelChoice& choice, Progress& progress) {
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.progress = Progress::on_progress;
  options.progress_user_data = &progress;
  options.cancel = interrupt_switch();
  options.weights = weights_of(choice);
  return options;
}

}  // namespace

void add_thread_option(CLI::App& command, ModelChoice& choice) {
  command.add_option("--threads", choice.threads, "Threads to use; 0: one per core")
      ->check(within(0, kMaxThreads))
      ->capture_default_str();
}

void add_machine_options(CLI::App& command, ModelChoice& choice) {
  add_thread_option(command, choice);
  command
      .add_option("--device", choice.device,
                  "cpu, cuda or cuda:N; if not given, the first GPU where this build has CUDA and finds one, "
                  "else cpu")
      ->type_name("NAME");
  command.add_flag("--fast", choice.fast,
                   "On a GPU, prompts and batches in the fastest order, not always the same bits");
}

CLI::Option* add_model_options(CLI::App& command, ModelChoice& choice, Tokenized tokenized) {
  CLI::Option* model =
      command.add_option("--model", choice.directory, "Directory with config.json and *.safetensors")
          ->type_name("DIR");
  if (tokenized == Tokenized::yes) {
    command
        .add_option("--tokenizer", choice.tokenizer, "Tokenizer file, if it is not in the model's directory")
        ->type_name("FILE");
  }
  command
      .add_option("--dtype", choice.dtype,
                  "Weights in memory: f32, bf16, int8 or fp8 (encoders); as stored if not given")
      ->check(CLI::IsMember({"f32", "bf16", "int8", "fp8"}));
  add_machine_options(command, choice);
  command.add_flag("--no-progress", choice.no_progress, "No progress on standard error");
  return model;
}

void add_kv_option(CLI::App& command, ModelChoice& choice) {
  command
      .add_option("--kv-dtype", choice.kv_dtype,
                  "Keys and values in memory: f32, bf16 or int8; f32 if not given")
      ->check(CLI::IsMember({"f32", "bf16", "int8"}));
}

void add_synthetic_option(CLI::App& command, std::string& shape, CLI::Option* model) {
  command
      .add_option("--synthetic", shape,
                  "Random weights of a shape, such as v0-d20, llama-d20 or minilm-l6, instead of --model")
      ->type_name("SHAPE")
      ->excludes(model);
}

void require_model(const ModelChoice& choice, const std::string& synthetic) {
  if (choice.directory.empty() && synthetic.empty()) throw CLI::RequiredError("--model or --synthetic");
}

CLI::Validator within(double low, double high) {
  const auto check = [low, high](std::string& text) -> std::string {
    double value = 0;
    if (CLI::detail::lexical_cast(text, value) && value >= low && value <= high) return {};
    return "'" + printable(text) + "' is not a number from " + number(low) + " to " + number(high);
  };
  return {check, number(low) + " to " + number(high)};
}

CLI::Validator unsigned_number() {
  return {[](std::string& text) -> std::string {
            uint64_t value = 0;
            const char* const end = text.data() + text.size();
            const auto [rest, error] = std::from_chars(text.data(), end, value);
            if (error == std::errc() && rest == end) return {};
            return "'" + printable(text) + "' is not a number from 0 to 18446744073709551615";
          },
          ""};
}

Runtime open_runtime(const ModelChoice& choice) {
  nanochat_runtime_options options = NANOCHAT_RUNTIME_OPTIONS_INIT;
  options.n_threads = choice.threads;
  options.log = log_to_stderr;
  if (choice.verbose) options.log_level = NANOCHAT_LOG_INFO;
  if (!choice.device.empty()) options.device = choice.device.c_str();
  if (choice.fast) options.arithmetic = NANOCHAT_ARITHMETIC_FAST;
  nanochat_runtime* runtime = nullptr;
  nanochat_error* error = nullptr;
  const nanochat_status status = nanochat_runtime_create(&options, &runtime, &error);
  check(exit_of(status), status, error);
  return Runtime(runtime);
}

Tokenizer open_tokenizer(const Runtime& runtime, const std::string& path) {
  return make<Tokenizer>(Exit::loading, nanochat_tokenizer_load, runtime.get(), path.c_str(), nullptr);
}

Tokenizer open_tokenizer(const Runtime& runtime, const ModelChoice& choice) {
  return open_tokenizer(runtime, choice.tokenizer.empty() ? choice.directory : choice.tokenizer);
}

Model open_model(const Runtime& runtime, const ModelChoice& choice) {
  Progress progress("Loading", Unit::bytes, choice.show());
  const nanochat_model_options options = model_options(choice, progress);
  return make<Model>(Exit::loading, nanochat_model_load, runtime.get(), choice.directory.c_str(), &options);
}

Model make_random_model(const Runtime& runtime, const std::string& shape, const ModelChoice& choice) {
  constexpr uint64_t kSeed = 1;
  Progress progress("Making weights", Unit::items, choice.show());
  const nanochat_model_options options = model_options(choice, progress);
  return make<Model>(Exit::loading, nanochat_model_create_random, runtime.get(), shape.c_str(), kSeed,
                     &options);
}

int32_t kv_dtype_of(const ModelChoice& choice) {
  if (choice.kv_dtype == "bf16") return NANOCHAT_KV_BF16;
  return choice.kv_dtype == "int8" ? NANOCHAT_KV_INT8 : NANOCHAT_KV_DEFAULT;
}

Session make_session(const nanochat_model* model, const ModelChoice& choice, int64_t capacity) {
  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  options.capacity = capacity;
  options.kv_dtype = kv_dtype_of(choice);
  return make<Session>(Exit::running, nanochat_session_create, model, &options);
}

void save_model(const nanochat_model* model, const std::string& directory, const ModelChoice& choice) {
  Progress progress("Saving", Unit::bytes, choice.show());
  nanochat_model_options options = NANOCHAT_MODEL_OPTIONS_INIT;
  options.progress = Progress::on_progress;
  options.progress_user_data = &progress;
  options.cancel = interrupt_switch();
  call(Exit::running, nanochat_model_save, model, directory.c_str(), &options);
}

int32_t weights_of(const ModelChoice& choice) {
  if (choice.dtype == "f32") return NANOCHAT_WEIGHTS_F32;
  if (choice.dtype == "bf16") return NANOCHAT_WEIGHTS_BF16;
  if (choice.dtype == "int8") return NANOCHAT_WEIGHTS_INT8;
  if (choice.dtype == "fp8") return NANOCHAT_WEIGHTS_FP8;
  return NANOCHAT_WEIGHTS_AS_STORED;
}

const char* dtype_name(int32_t weights) {
  if (weights == NANOCHAT_WEIGHTS_INT8) return "int8";
  if (weights == NANOCHAT_WEIGHTS_FP8) return "fp8";
  return weights == NANOCHAT_WEIGHTS_BF16 ? "bf16" : "f32";
}

}  // namespace nanochat::cli
