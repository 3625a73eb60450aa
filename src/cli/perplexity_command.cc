// nanochat perplexity: how well a model predicts a text.
#include <algorithm>
#include <cmath>
#include <memory>
#include <numbers>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "commands.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"
#include "token_list.h"

namespace nanochat::cli {
namespace {

constexpr size_t kTokensPerCall = 64;  // bounds the buffer of logits; the bits do not depend on it

struct Perplexity {
  ModelChoice model;
  std::string file;
  int64_t tokens = 0;   // 0: all
  int64_t context = 0;  // 0: the model's own
  bool json = false;
};

// Windows follow each other without overlap. Each begins with the bos token, or, in a vocabulary without one,
// with the last token of the window before; that first token is given, the others are scored.
struct Windows {
  TokenList text;
  int32_t bos = -1;
  size_t context = 0;

  size_t first_scored() const { return bos >= 0 ? 0 : 1; }
  size_t n_scored() const { return text.size() - first_scored(); }
  // The tokens of the window whose first scored token is text[begin].
  TokenList at(size_t begin) const {
    const size_t end = std::min(begin + context - 1, text.size());
    TokenList window{bos >= 0 ? bos : text[begin - 1]};
    window.insert(window.end(), text.begin() + static_cast<ptrdiff_t>(begin),
                  text.begin() + static_cast<ptrdiff_t>(end));
    return window;
  }
};

// -log of the probability of `token`: in double precision, so that a long sum keeps its digits.
double negative_log_likelihood(std::span<const float> logits, int32_t token) {
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0;
  for (const float logit : logits) sum += std::exp(static_cast<double>(logit) - largest);
  return std::log(sum) + largest - static_cast<double>(logits[static_cast<size_t>(token)]);
}

// The sum over a window's scored tokens.
double score_window(const nanochat_model* model, const TokenList& window, std::vector<float>& buffer,
                    size_t vocab_size) {
  nanochat_session_options options = NANOCHAT_SESSION_OPTIONS_INIT;
  options.capacity = static_cast<int64_t>(window.size());
  const Session session = make<Session>(Exit::running, nanochat_session_create, model, &options);
  double total = 0;
  // The last token predicts nothing that is known.
  for (size_t begin = 0; begin + 1 < window.size(); begin += kTokensPerCall) {
    const size_t n = std::min(kTokensPerCall, window.size() - 1 - begin);
    call(Exit::running, nanochat_session_eval, session.get(), window.data() + begin, n, NANOCHAT_LOGITS_ALL,
         buffer.data(), buffer.size(), interrupt_switch());
    for (size_t i = 0; i < n; ++i) {
      total += negative_log_likelihood(std::span(buffer).subspan(i * vocab_size, vocab_size),
                                       window[begin + i + 1]);
    }
  }
  return total;
}

size_t text_bytes(const nanochat_tokenizer* tokenizer, const TokenList& ids) {
  const Text text =
      make<Text>(Exit::running, nanochat_tokenizer_decode, tokenizer, ids.data(), ids.size(), 0);
  return nanochat_text_size(text.get());
}

Windows cut_text(const Perplexity& asked, const nanochat_tokenizer* tokenizer,
                 const nanochat_model_info& info) {
  Windows windows;
  windows.text = encode(tokenizer, read_whole(asked.file), NANOCHAT_ENCODE_PLAIN);
  windows.bos = info.bos_token >= 0 ? info.bos_token : nanochat_tokenizer_bos(tokenizer);
  windows.context = static_cast<size_t>(asked.context > 0 ? asked.context : info.sequence_len);
  if (asked.tokens > 0 && static_cast<size_t>(asked.tokens) < windows.text.size()) {
    windows.text.resize(static_cast<size_t>(asked.tokens));
  }
  const std::string name = asked.file == "-" ? "standard input" : asked.file;
  if (windows.text.size() <= windows.first_scored()) {
    throw Failure(Exit::loading,
                  name + ": " + std::to_string(windows.text.size()) + " tokens, nothing to score");
  }
  for (const int32_t id : windows.text) {
    if (id < info.vocab_size) continue;
    throw Failure(Exit::loading, name + ": has token " + std::to_string(id) + ", the model's ids end at " +
                                     std::to_string(info.vocab_size - 1));
  }
  return windows;
}

void run_perplexity(const Perplexity& asked) {
  const Runtime runtime = open_runtime(asked.model);
  const Model model = open_model(runtime, asked.model);
  const Tokenizer tokenizer = open_tokenizer(runtime, asked.model);
  const auto info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, model.get());
  const Windows windows = cut_text(asked, tokenizer.get(), info);

  const auto vocab_size = static_cast<size_t>(info.vocab_size);
  std::vector<float> buffer(std::min(kTokensPerCall, windows.context) * vocab_size);
  Progress progress("Scoring", Unit::tokens, asked.model.show());
  double total = 0;
  size_t n_windows = 0;
  for (size_t begin = windows.first_scored(); begin < windows.text.size(); begin += windows.context - 1) {
    total += score_window(model.get(), windows.at(begin), buffer, vocab_size);
    ++n_windows;
    progress.update(std::min(begin + windows.context - 1, windows.text.size()), windows.text.size());
  }
  progress.finish();
  const TokenList given(windows.text.begin(),
                        windows.text.begin() + static_cast<ptrdiff_t>(windows.first_scored()));
  const size_t n_bytes = text_bytes(tokenizer.get(), windows.text) - text_bytes(tokenizer.get(), given);
  const double mean = total / static_cast<double>(windows.n_scored());
  const nlohmann::ordered_json line = {
      {"schema", "nanochat-perplexity-1"},
      {"model", asked.model.directory},
      {"text", asked.file},
      {"dtype", dtype_name(info.weights)},
      {"context", windows.context},
      {"windows", n_windows},
      {"tokens", windows.n_scored()},
      {"bytes", n_bytes},
      {"nll", mean},
      {"perplexity", std::exp(mean)},
      {"bits_per_byte", total / std::numbers::ln2 / static_cast<double>(n_bytes)},
  };
  if (asked.json)
    return write_stdout(line.dump(-1, ' ', false, nlohmann::json::error_handler_t::replace) + "\n");
  std::string text;
  for (const char* name : {"tokens", "bytes", "windows", "nll", "perplexity", "bits_per_byte"}) {
    text += std::string(name) + ": " + line.at(name).dump() + "\n";
  }
  write_stdout(text);
}

}  // namespace

void add_perplexity_command(CLI::App& app) {
  constexpr int64_t kMaxContext = 1 << 22;
  constexpr double kMaxTokens = 1e12;
  CLI::App* command = app.add_subcommand("perplexity", "Measure how well a model predicts a text");
  auto asked = std::make_shared<Perplexity>();
  add_model_options(*command, asked->model, Tokenized::yes)->required();
  command->add_option("--tokens", asked->tokens, "Tokens of the text to take; all if not given")
      ->check(within(1, kMaxTokens));
  command->add_option("--context", asked->context, "Tokens of a window; the model's context if not given")
      ->check(within(2, kMaxContext));
  command->add_flag("--json", asked->json, "One JSON object");
  command->add_option("FILE", asked->file, "The text; - is standard input")->required();
  command->footer(
      "nll is the mean negative log-likelihood of a token in nats, perplexity its exponential.\n"
      "Windows do not overlap; each begins with the bos token, which is not scored.");
  command->callback([asked] { run_perplexity(*asked); });
}

}  // namespace nanochat::cli
