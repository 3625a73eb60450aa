// nanochat chat: a conversation at the terminal, or piped in line by line. Answers go to standard output.
#include <algorithm>
#include <cstdio>
#include <memory>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>

#include "commands.h"
#include "conversation_prompt.h"
#include "interrupt.h"
#include "model_choice.h"
#include "sampling.h"
#include "stream.h"

namespace nanochat::cli {
namespace {

const char* const kHelp =
    "/help            this list\n"
    "/clear           forget the conversation\n"
    "/save FILE       write the conversation as JSON\n"
    "/stats           tokens, speed and memory\n"
    "/temperature X   0 to 2\n"
    "/topk K          0 to 200, 0: off\n"
    "/exit            leave\n"
    "Anything else is said to the model. Ctrl-C stops an answer.\n";

struct Chat {
  ModelChoice model;
  Sampling sampling;
};

void say(const std::string& text) { write_stderr(text); }

// The number in `text`, if it is one from low to high; else says so.
bool parse_setting(const std::string& text, double low, double high, double& value) {
  std::string copy = text;
  const std::string complaint = within(low, high)(copy);
  if (!complaint.empty()) {
    say("nanochat: " + complaint + "\n");
    return false;
  }
  return CLI::detail::lexical_cast(copy, value);
}

class Conversation {
 public:
  explicit Conversation(const Chat& chat)
      : sampling_(chat.sampling),
        runtime_(open_runtime(chat.model)),
        model_(open_model(runtime_, chat.model)),
        tokenizer_(open_tokenizer(runtime_, chat.model)),
        prompt_(tokenizer_.get()),
        session_(make_session(model_.get(), chat.model, 0)) {
    if (!prompt_.has_chat_tokens()) {
      say("nanochat: this tokenizer has no chat tokens: the model continues a plain text of \"User:\" and "
          "\"Assistant:\" lines\n");
    }
  }

  // False: leave.
  bool obey(const std::string& line);
  void answer(const std::string& line);

 private:
  void reply();
  TokenList prompt_that_fits();
  void reuse_session_for(const TokenList& ids);
  void save(const std::string& path) const;
  void show_stats() const;

  Sampling sampling_;
  Runtime runtime_;
  Model model_;
  Tokenizer tokenizer_;
  ConversationPrompt prompt_;
  Session session_;
  TokenList held_;  // what the session holds, perhaps with one token more
  std::vector<Message> messages_;
  uint64_t n_answers_ = 0;
  nanochat_generation_info last_{};
};

bool Conversation::obey(const std::string& line) {
  const size_t space = line.find(' ');
  const std::string name = line.substr(0, space);
  const std::string argument = space == std::string::npos ? "" : line.substr(space + 1);
  double value = 0;
  if (name == "/exit") return false;
  if (name == "/help") {
    say(kHelp);
  } else if (name == "/clear") {
    messages_.clear();
    say("nanochat: a new conversation\n");
  } else if (name == "/save") {
    save(argument);
  } else if (name == "/stats") {
    show_stats();
  } else if (name == "/temperature") {
    if (parse_setting(argument, 0, 2, value)) sampling_.temperature = value;
  } else if (name == "/topk") {
    if (parse_setting(argument, 0, 200, value)) sampling_.top_k = static_cast<int32_t>(value);
  } else {
    say("nanochat: there is no command '" + printable(name) + "'; /help lists them\n");
  }
  return true;
}

void Conversation::save(const std::string& path) const {
  if (path.empty()) return say("nanochat: /save needs a file name\n");
  try {
    OutputFile file(path);
    file.write(conversation_json(messages_) + "\n");
    file.commit();
    say("nanochat: " + std::to_string(messages_.size()) + " messages in " + printable(path) + "\n");
  } catch (const Failure& failure) {
    say(failure.report());
  }
}

void Conversation::show_stats() const {
  const auto memory = fill<nanochat_memory_info>(Exit::running, nanochat_runtime_memory, runtime_.get());
  const auto decoded = static_cast<double>(last_.generated_tokens - 1);
  char text[256];
  std::snprintf(
      text, sizeof text,
      "answers %llu, context %lld of %lld tokens, last answer %lld tokens at %.1f tokens/s after %.0f ms, "
      "memory %.1f MB\n",
      static_cast<unsigned long long>(n_answers_),
      static_cast<long long>(nanochat_session_length(session_.get())),
      static_cast<long long>(nanochat_session_capacity(session_.get())),
      static_cast<long long>(last_.generated_tokens),
      last_.decode_seconds > 0 ? decoded / last_.decode_seconds : 0.0, last_.prompt_seconds * 1e3,
      static_cast<double>(memory.used_bytes) * 1e-6);
  say(text);
}

// Leaves room for an answer by forgetting the oldest exchanges.
TokenList Conversation::prompt_that_fits() {
  const int64_t capacity = nanochat_session_capacity(session_.get());
  const int64_t room = std::min(sampling_.max_tokens, capacity / 2);
  TokenList ids = prompt_.ids(messages_);
  size_t n_forgotten = 0;
  while (messages_.size() > 2 && static_cast<int64_t>(ids.size()) + room > capacity) {
    messages_.erase(messages_.begin(), messages_.begin() + 2);
    n_forgotten += 2;
    ids = prompt_.ids(messages_);
  }
  if (n_forgotten > 0) {
    say("nanochat: the context is full: the oldest " + std::to_string(n_forgotten) +
        " messages are forgotten\n");
  }
  return ids;
}

// Keeps what the session has already computed of these ids.
void Conversation::reuse_session_for(const TokenList& ids) {
  const auto differing = std::ranges::mismatch(held_, ids);
  const auto length = static_cast<std::ptrdiff_t>(nanochat_session_length(session_.get()));
  // At least one id is left to append, so that there are logits to draw from.
  const std::ptrdiff_t common = std::min({differing.in1 - held_.begin(), length, std::ssize(ids) - 1});
  call(Exit::running, nanochat_session_truncate, session_.get(), common);
  held_.assign(ids.begin(), ids.begin() + common);
}

void Conversation::answer(const std::string& line) {
  messages_.push_back({"user", line});
  try {
    reply();
  } catch (const Failure&) {
    messages_.pop_back();  // what has no answer was not said
    held_.clear();
    throw;
  }
}

void Conversation::reply() {
  const TokenList ids = prompt_that_fits();
  reuse_session_for(ids);
  GenerationSettings settings(sampling_, n_answers_);
  if (prompt_.stop_text()[0] != '\0') settings.stop_at(prompt_.stop_text());
  const TokenList fresh(ids.begin() + std::ssize(held_), ids.end());
  const auto generation = make<Generation>(Exit::running, nanochat_generation_start, session_.get(),
                                           tokenizer_.get(), fresh.data(), fresh.size(), settings.get());
  Generated generated;
  bool stopped = false;
  try {
    generate(generation.get(), generated, [](std::string_view text, size_t) { write_stdout(text); });
    last_ = generated.info;
  } catch (const Interrupted&) {
    if (!stdin_is_terminal()) throw;
    rearm_interrupt();
    stopped = true;
  }
  write_stdout("\n");
  if (stopped) say("nanochat: stopped\n");
  ++n_answers_;
  messages_.push_back({"assistant", generated.text});
  held_.insert(held_.end(), fresh.begin(), fresh.end());
  held_.insert(held_.end(), generated.tokens.begin(), generated.tokens.end());
  // A session that slid no longer holds these ids from its start.
  if (std::ssize(held_) > nanochat_session_length(session_.get()) + 1) held_.clear();
}

void run_chat(const Chat& chat) {
  Conversation conversation(chat);
  const bool interactive = stdin_is_terminal();
  if (interactive) say("/help lists the commands, /exit leaves.\n");
  LineReader lines("-");
  for (;;) {
    if (interactive) say("> ");
    std::string_view next;
    if (!lines.next(next)) break;
    const std::string line(next.ends_with('\r') ? next.substr(0, next.size() - 1) : next);
    if (line.empty()) continue;
    try {
      if (line.front() != '/') {
        conversation.answer(line);
      } else if (!conversation.obey(line)) {
        break;
      }
    } catch (const Failure& failure) {
      if (!interactive) throw;
      say(failure.report());
    }
  }
}

}  // namespace

void add_chat_command(CLI::App& app) {
  CLI::App* command = app.add_subcommand("chat", "Talk with a model");
  auto chat = std::make_shared<Chat>();
  add_model_options(*command, chat->model, Tokenized::yes)->required();
  add_kv_option(*command, chat->model);
  add_sampling_options(*command, chat->sampling);
  command->footer(std::string("In the conversation:\n") + kHelp);
  command->callback([chat] { run_chat(*chat); });
}

}  // namespace nanochat::cli
