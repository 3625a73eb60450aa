// What ends a command early: one message for stderr and an exit code.
#pragma once

#include <nanochat.h>

#include <exception>
#include <string>

namespace nanochat::cli {

enum class Exit : int {
  ok = 0,
  loading = 1,  // wrong usage, or an input that cannot be loaded: model, tokenizer, file
  running = 2,  // the work itself failed
  // and 101 to 110: see exit_of()
};

// The exit code of a status of the library: 101 to 110 for the fatal ones of loading, else 1.
inline Exit exit_of(nanochat_status status) { return static_cast<Exit>(nanochat_status_exit_code(status)); }

class Failure : public std::exception {
 public:
  Failure(Exit exit, std::string message, std::string hint = {});
  // Takes `error` over; NULL is a failure without details.
  Failure(Exit exit, nanochat_status status, nanochat_error* error);

  const char* what() const noexcept override { return message_.c_str(); }
  Exit exit() const { return exit_; }
  nanochat_status status() const { return status_; }  // NANOCHAT_OK: did not come from the library
  // "nanochat: message", then a line for each cause and for the hint. Ends with a line break.
  std::string report() const;

 private:
  Exit exit_;
  nanochat_status status_ = NANOCHAT_OK;
  std::string message_;
  std::string causes_;  // finished lines
  std::string hint_;
};

// Nobody reads standard output any more: the program ends quietly.
struct ReaderLeft {};

// SIGINT or SIGTERM arrived.
struct Interrupted {};

// `text` on one line and harmless to a terminal: control characters become \xNN.
std::string printable(const std::string& text);

}  // namespace nanochat::cli
