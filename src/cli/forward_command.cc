// nanochat forward: logits of given tokens, for comparing one implementation with another.
#include <algorithm>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "interrupt.h"
#include "logits_file.h"
#include "model_choice.h"
#include "stream.h"
#include "token_list.h"

namespace nanochat::cli {
namespace {

constexpr size_t kTokensPerCall = 64;  // bounds the buffer of logits; the bits do not depend on it

struct Forward {
  ModelChoice model;
  std::string tokens;
  std::string out;
};

void refuse_unknown_ids(const std::vector<TokenList>& rows, int64_t vocab_size, const std::string& file) {
  for (size_t i = 0; i < rows.size(); ++i) {
    for (size_t j = 0; j < rows[i].size(); ++j) {
      if (rows[i][j] < vocab_size) continue;
      throw Failure(Exit::loading, file + ": list " + std::to_string(i) + "[" + std::to_string(j) + "] is " +
                                       std::to_string(rows[i][j]) + ", the model's ids end at " +
                                       std::to_string(vocab_size - 1));
    }
  }
}

// The logits of one list, in a session of its own.
void append_row(const nanochat_model* model, const ModelChoice& choice, const TokenList& tokens,
                std::vector<float>& buffer, size_t vocab_size, LogitsFile& file) {
  const Session session = make_session(model, choice, static_cast<int64_t>(tokens.size()));
  for (size_t begin = 0; begin < tokens.size(); begin += kTokensPerCall) {
    const size_t n = std::min(kTokensPerCall, tokens.size() - begin);
    call(Exit::running, nanochat_session_eval, session.get(), tokens.data() + begin, n, NANOCHAT_LOGITS_ALL,
         buffer.data(), buffer.size(), interrupt_switch());
    file.append(std::span<const float>(buffer).first(n * vocab_size));
  }
}

void run_forward(const Forward& forward) {
  const std::string name = forward.tokens == "-" ? "standard input" : forward.tokens;
  const std::vector<TokenList> rows = parse_token_rows(read_whole(forward.tokens), name);
  const Runtime runtime = open_runtime(forward.model);
  const Model model = open_model(runtime, forward.model);
  const auto info = fill<nanochat_model_info>(Exit::running, nanochat_model_describe, model.get());
  refuse_unknown_ids(rows, info.vocab_size, name);

  const auto vocab_size = static_cast<size_t>(info.vocab_size);
  const size_t n_tokens = rows[0].size();
  std::vector<float> buffer(std::min(kTokensPerCall, n_tokens) * vocab_size);
  Progress progress("Computing", Unit::items, forward.model.show());
  LogitsFile file(forward.out, rows.size(), n_tokens, vocab_size);
  for (size_t i = 0; i < rows.size(); ++i) {
    append_row(model.get(), forward.model, rows[i], buffer, vocab_size, file);
    progress.update(i + 1, rows.size());
  }
  file.commit();
}

}  // namespace

void add_forward_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("forward", "Write the logits of given tokens to a safetensors file");
  auto forward = std::make_shared<Forward>();
  add_model_options(*command, forward->model, Tokenized::no)->required();
  add_kv_option(*command, forward->model);
  command
      ->add_option("--tokens", forward->tokens,
                   "JSON: a list of equally long lists of ids; - is standard input")
      ->required()
      ->type_name("FILE");
  command->add_option("--out", forward->out, "Gets one F32 tensor \"logits\" [lists, tokens, vocabulary]")
      ->required()
      ->type_name("FILE");
  command->callback([forward] { run_forward(*forward); });
}

}  // namespace nanochat::cli
