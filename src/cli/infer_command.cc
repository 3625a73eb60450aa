// nanochat infer [PROMPT]: continues a text. Standard output gets the generated text and nothing else.
#include <memory>
#include <string>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

constexpr int32_t kMaxSamples = 1000;
const char* const kBetweenSamples = "\n---\n";

struct Infer {
  ModelChoice model;
  Sampling sampling;
  std::string prompt;
  CLI::Option* prompt_given = nullptr;
  int32_t samples = 1;
  bool stream = true;
  bool json = false;
};

// From standard input without the line break that shells put at the end.
std::string piped_prompt() {
  if (stdin_is_terminal()) write_stderr("nanochat: type the prompt, then Ctrl-D\n");
  std::string text = read_whole("-");
  if (text.ends_with('\n')) text.pop_back();
  if (text.ends_with('\r')) text.pop_back();
  return text;
}

// Text appears on the way, or at the end if --stream false or --json.
class Output {
 public:
  explicit Output(const Infer& infer)
      : live_(infer.stream && !infer.json),
        // A bar and a text on one terminal would overwrite each other.
        progress_("Generating", Unit::tokens,
                  live_ && stdout_is_terminal() ? Show::nothing : infer.model.show()),
        n_max_(static_cast<uint64_t>(infer.sampling.max_tokens)) {}

  void add(std::string_view text, size_t n_tokens) {
    if (live_) write_stdout(text);
    progress_.update(n_tokens, n_max_);
  }
  void end(const std::string& text) {
    progress_.finish();
    if (!live_) write_stdout(text);
  }

 private:
  bool live_;
  Progress progress_;
  uint64_t n_max_;
};

std::string as_json(const Infer& infer, int32_t sample, const Generated& generated) {
  const nlohmann::ordered_json line = {
      {"schema", "nanochat-infer-1"},
      {"sample", sample},
      {"text", generated.text},
      {"tokens", generated.tokens},
      {"finish", finish_name(generated.finish)},
      {"seed", infer.sampling.seed},
      {"prompt_tokens", generated.info.prompt_tokens},
      {"generated_tokens", generated.info.generated_tokens},
      {"prompt_seconds", generated.info.prompt_seconds},
      {"decode_seconds", generated.info.decode_seconds},
  };
  return line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n";
}

// Sessions that hold the prompt already: it is computed once, however many samples are drawn.
class PromptSessions {
 public:
  PromptSessions(const nanochat_model* model, const ModelChoice& choice, const TokenList& prompt,
                 int32_t samples)
      : model_(model), choice_(choice), prompt_(prompt), first_(make_empty()) {
    const auto n_prompt = static_cast<int64_t>(prompt.size());
    shared_ = samples > 1 && n_prompt > 0 && n_prompt < nanochat_session_capacity(first_.get());
    if (!shared_) return;
    call(Exit::running, nanochat_session_eval, first_.get(), prompt.data(), prompt.size(),
         NANOCHAT_LOGITS_NONE, nullptr, 0, interrupt_switch());
  }

  Session next() {
    if (shared_) {
      return make<Session>(Exit::running, nanochat_session_copy, first_.get());
    }
    return first_ ? std::move(first_) : make_empty();
  }
  // What is still to be appended to such a session.
  size_t n_prompt_left() const { return shared_ ? 0 : prompt_.size(); }

 private:
  Session make_empty() const { return make_session(model_, choice_, 0); }

  const nanochat_model* model_;
  const ModelChoice& choice_;
  const TokenList& prompt_;
  Session first_;
  bool shared_ = false;
};

void warn_of_long_prompt(const nanochat_model* model, size_t n_prompt) {
  const auto info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, model);
  if (static_cast<int64_t>(n_prompt) < info.sequence_len) return;
  write_stderr("nanochat: the prompt has " + std::to_string(n_prompt) + " tokens, the model's context " +
               std::to_string(info.sequence_len) + ": an older part of it is left out\n");
}

void run_infer(const Infer& infer) {
  const std::string prompt = infer.prompt_given->count() > 0 ? infer.prompt : piped_prompt();
  const Runtime runtime = open_runtime(infer.model);
  const Model model = open_model(runtime, infer.model);
  const Tokenizer tokenizer = open_tokenizer(runtime, infer.model);
  const TokenList ids = encode(tokenizer.get(), prompt, NANOCHAT_ENCODE_ADD_SPECIALS);
  warn_of_long_prompt(model.get(), ids.size());

  PromptSessions sessions(model.get(), infer.model, ids, infer.samples);
  for (int32_t sample = 0; sample < infer.samples; ++sample) {
    if (sample > 0 && !infer.json) write_stdout(kBetweenSamples);
    const Session session = sessions.next();
    const GenerationSettings settings(infer.sampling, static_cast<uint64_t>(sample));
    const auto generation =
        make<Generation>(Exit::running, nanochat_generation_start, session.get(), tokenizer.get(), ids.data(),
                         sessions.n_prompt_left(), settings.get());
    Output output(infer);
    Generated generated;
    generate(generation.get(), generated, [&](std::string_view text, size_t n) { output.add(text, n); });
    generated.info.prompt_tokens =
        static_cast<int64_t>(ids.size());  // a shared prompt counts for each sample
    output.end(infer.json ? as_json(infer, sample, generated) : generated.text);
  }
  // The prompt of a shell belongs on its own line, but not into the text.
  if (stdout_is_terminal() && stderr_is_terminal() && !infer.json) write_stderr("\n");
}

}  // namespace

void add_infer_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("infer", "Continue a text");
  auto infer = std::make_shared<Infer>();
  infer->prompt_given =
      command->add_option("PROMPT", infer->prompt, "The text to continue; standard input if absent");
  add_model_options(*command, infer->model, Tokenized::yes)->required();
  add_kv_option(*command, infer->model);
  add_sampling_options(*command, infer->sampling);
  command->add_option("--samples", infer->samples, "Continuations to draw, with a line --- between them")
      ->check(within(1, kMaxSamples))
      ->capture_default_str();
  command->add_option("--stream", infer->stream, "true: text as it is made; false: all at the end")
      ->type_name("true|false")
      ->default_str("true");
  command->add_flag("--json", infer->json, "One JSON object for each continuation instead of text");
  command->footer("Exit codes: 0 done, 1 the model cannot be loaded, 2 the generation failed, 130 Ctrl-C.");
  command->callback([infer] { run_infer(*infer); });
}

}  // namespace nanochat::cli
