#include "failure.h"

#include <utility>

namespace nanochat::cli {

Failure::Failure(Exit exit, std::string message, std::string hint)
    : exit_(exit), message_(std::move(message)), hint_(std::move(hint)) {}

Failure::Failure(Exit exit, nanochat_status status, nanochat_error* error) : exit_(exit), status_(status) {
  message_ = nanochat_error_message(error);
  if (message_.empty()) message_ = nanochat_status_name(status);
  hint_ = nanochat_error_hint(error);
  for (const nanochat_error* cause = nanochat_error_cause(error); cause != nullptr;
       cause = nanochat_error_cause(cause)) {
    causes_ += "  because: " + printable(nanochat_error_message(cause)) + "\n";
    if (hint_.empty()) hint_ = nanochat_error_hint(cause);
  }
  nanochat_error_free(error);
}

std::string Failure::report() const {
  std::string lines = "nanochat: " + printable(message_) + "\n" + causes_;
  if (!hint_.empty()) lines += "  hint: " + printable(hint_) + "\n";
  return lines;
}

std::string printable(const std::string& text) {
  static const char* const kDigits = "0123456789abcdef";
  std::string line;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    if (byte >= 0x20 && byte != 0x7f) {
      line += c;
    } else {
      line += {'\\', 'x', kDigits[byte >> 4], kDigits[byte & 15]};
    }
  }
  return line;
}

}  // namespace nanochat::cli
