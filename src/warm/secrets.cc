// Finds what looks like a secret by what it begins with, by the key before it, or by its place in a URL.
// Every byte is looked at a bounded number of times.
#include <algorithm>
#include <array>
#include <charconv>
#include <string>
#include <string_view>
#include <vector>

#include "warm/diagnostics.h"

namespace nanochat {

namespace {

constexpr std::string_view kMask = "***";

bool is_digit(char c) { return c >= '0' && c <= '9'; }
bool is_upper(char c) { return c >= 'A' && c <= 'Z'; }
bool is_alnum(char c) { return is_digit(c) || is_upper(c) || (c >= 'a' && c <= 'z'); }
bool is_word(char c) { return is_alnum(c) || c == '_' || c == '-'; }
bool is_space(char c) { return c == ' ' || c == '\t' || c == '\n' || c == '\r'; }
bool is_quote(char c) { return c == '"' || c == '\''; }
char lower(char c) { return is_upper(c) ? static_cast<char>(c - 'A' + 'a') : c; }

bool equals_ignoring_case(std::string_view a, std::string_view b) {
  return a.size() == b.size() &&
         std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) { return lower(x) == lower(y); });
}

// Real ones are longer than 30; names of models and libraries that begin alike are made of shorter words.
bool is_long_enough(std::string_view body) {
  constexpr size_t kLongWord = 16, kLongText = 40;
  if (body.size() >= kLongText) return true;  // before the loop: the work is bounded
  size_t run = 0;
  for (const char c : body) {
    run = is_alnum(c) ? run + 1 : 0;
    if (run >= kLongWord) return true;
  }
  return false;
}

// Where in a word a secret begins that is known by its beginning: "hf_...", "sk-...", "ghp_...", "AKIA...".
size_t find_token(std::string_view word) {
  constexpr std::string_view kPrefixes[] = {"hf_",         "sk-",   "sk_",   "ghp_",  "gho_",  "ghu_",
                                            "ghs_",        "ghr_",  "AKIA",  "ASIA",  "AIza",  "glpat-",
                                            "github_pat_", "xoxb-", "xoxp-", "xoxa-", "xoxs-", "npm_"};
  for (size_t i = 0; i < word.size(); ++i) {
    if (i > 0 && is_alnum(word[i - 1])) continue;
    const std::string_view rest = word.substr(i);
    if (std::ranges::any_of(kPrefixes, [&](std::string_view prefix) {
          return rest.starts_with(prefix) && is_long_enough(rest.substr(prefix.size()));
        })) {
      return i;
    }
  }
  return std::string_view::npos;
}

// "hfApi_Token-2" is "hf", "api", "token", "2".
std::vector<std::string> words_of(std::string_view key) {
  std::vector<std::string> words(1);
  for (size_t i = 0; i < key.size(); ++i) {
    const bool is_hump = i > 0 && is_upper(key[i]) && !is_upper(key[i - 1]);
    if (!is_alnum(key[i]) || is_hump) words.emplace_back();
    if (is_alnum(key[i])) words.back() += lower(key[i]);
  }
  std::erase(words, std::string());
  return words;
}

// A key as it is written down; a longer word is none, which also bounds the work.
constexpr size_t kLongestKey = 80;

bool is_secret_key(std::string_view key) {
  if (key.size() > kLongestKey) return false;
  const std::vector<std::string> words = words_of(key);
  if (words.empty()) return false;
  const auto is_one_of = [](const std::string& word, std::initializer_list<std::string_view> list) {
    return std::ranges::find(list, word) != list.end();
  };
  if (std::ranges::any_of(words, [&](const std::string& word) {
        return is_one_of(word, {"secret", "secrets", "password", "passwords", "passwd", "passphrase"});
      })) {
    return true;
  }
  const std::string& last = words.back();
  if (is_one_of(last,
                {"token", "apitoken", "accesstoken", "authtoken", "pwd", "apikey", "apikeys", "accesskey",
                 "secretkey", "privatekey", "credential", "credentials", "authorization", "cookie"})) {
    return true;
  }
  return words.size() > 1 && is_one_of(last, {"key", "keys"}) &&
         is_one_of(words[words.size() - 2],
                   {"api", "access", "private", "auth", "signing", "encryption", "account", "client"});
}

class Masker {
 public:
  explicit Masker(std::string_view text) : text_(text) { out_.reserve(text.size()); }

  std::string run() {
    while (at_ < text_.size()) {
      if (is_word(text_[at_])) {
        take_word();
      } else if (text_.substr(at_).starts_with("://")) {
        take_authority();
      } else {
        keep(1);
      }
    }
    return std::move(out_);
  }

 private:
  char peek(size_t offset) const { return offset < text_.size() ? text_[offset] : '\0'; }

  void keep(size_t n) {
    out_ += text_.substr(at_, n);
    at_ += n;
  }
  void mask(size_t n) {
    if (n > 0) out_ += kMask;
    at_ += n;
  }

  void take_word() {
    size_t end = at_;
    while (end < text_.size() && is_word(text_[end])) ++end;
    const std::string_view word = text_.substr(at_, end - at_);
    if (const size_t token = find_token(word); token != std::string_view::npos) {
      keep(token);
      return mask(end - at_);
    }
    keep(word.size());
    if (equals_ignoring_case(word, "bearer")) {
      take_credentials();
    } else if (is_secret_key(word)) {
      take_value(word);
    }
  }

  // What follows "Bearer".
  void take_credentials() {
    const size_t begin = skip_spaces(at_);
    size_t end = begin;
    const auto may_be_credential = [](char c) {
      return is_word(c) || c == '.' || c == '~' || c == '+' || c == '/' || c == '=';
    };
    while (end < text_.size() && may_be_credential(text_[end])) ++end;
    if (begin == at_ || end == begin) return;
    keep(begin - at_);
    mask(end - begin);
  }

  size_t skip_spaces(size_t from) const {
    while (from < text_.size() && is_space(text_[from])) ++from;
    return from;
  }
  // Of quotes, which a text within a text writes with backslashes.
  size_t skip_quote(size_t from) const {
    size_t end = from;
    while (peek(end) == '\\') ++end;
    return is_quote(peek(end)) ? end + 1 : from;
  }

  // After a key: `= value`, `: "value"`, `": "value"`; after an option of a command line also ` value`.
  void take_value(std::string_view key) {
    const size_t after_key = skip_quote(at_);
    size_t next = skip_spaces(after_key);
    const char separator = peek(next);
    if (separator == '=' || separator == ':') {
      next = skip_spaces(next + 1);
    } else if (!key.starts_with("--") || next == after_key) {
      return;
    }
    keep(next - at_);
    const size_t opened = skip_quote(next);
    if (opened > next) {
      const std::string_view quote = text_.substr(next, opened - next);
      keep(quote.size());
      mask(find_end(quote) - at_);
    } else {
      take_bare_value(key);
    }
  }

  // The place of the same quote that is not escaped, or the end of the text.
  size_t find_end(std::string_view quote) const {
    size_t n_backslashes = 0;
    for (size_t i = at_; i < text_.size(); ++i) {
      if (text_[i] == '\\') {
        ++n_backslashes;
        continue;
      }
      const size_t n_own = quote.size() - 1;
      const bool is_end = n_own == 0 ? n_backslashes % 2 == 0 : n_backslashes == n_own;
      if (text_[i] == quote.back() && is_end) return i - n_own;
      n_backslashes = 0;
    }
    return text_.size();
  }

  void take_bare_value(std::string_view key) {
    size_t end = at_;
    while (end < text_.size() && !is_space(text_[end]) && !is_quote(text_[end]) && text_[end] != '&') ++end;
    const std::string_view kPunctuation = ".,;:)]}>\\";
    while (end > at_ && kPunctuation.find(text_[end - 1]) != std::string_view::npos) --end;
    const std::string_view value = text_.substr(at_, end - at_);
    if (value == "[" || value == "{") return;
    // The id of a token of a text is no secret.
    const bool is_number = value.size() <= 7 && std::ranges::all_of(value, is_digit);
    if (is_number && equals_ignoring_case(key, "token")) return;
    const bool is_scheme = std::ranges::any_of(std::array{"bearer", "basic", "digest", "token"},
                                               [&](auto name) { return equals_ignoring_case(value, name); });
    if (is_scheme && skip_spaces(end) > end) {
      keep(value.size());
      return take_credentials();
    }
    mask(value.size());
  }

  // "://user:password@host": what stands before the last @ of the authority.
  void take_authority() {
    keep(3);
    size_t end = at_, sign = std::string_view::npos;
    while (end < text_.size() && !is_space(text_[end]) && !is_quote(text_[end]) && text_[end] != '/' &&
           text_[end] != '?' && text_[end] != '#') {
      if (text_[end] == '@') sign = end;
      ++end;
    }
    if (sign != std::string_view::npos) mask(sign - at_);
  }

  std::string_view text_;
  size_t at_ = 0;
  std::string out_;
};

}  // namespace

std::string mask_secrets(std::string_view text) { return Masker(text).run(); }

Json mask_secrets_in(const Json& document) {
  if (document.is_string()) return mask_secrets(document.get_ref<const std::string&>());
  if (document.is_array()) {
    Json list = Json::array();
    for (const Json& element : document) list.push_back(mask_secrets_in(element));
    return list;
  }
  if (!document.is_object()) return document;
  Json::Object members;
  for (const JsonMember& member : document.items()) {
    const bool is_secret = member.value.is_string() && is_secret_key(member.key);
    members.push_back({member.key, is_secret ? Json(kMask) : mask_secrets_in(member.value)});
  }
  return Json::object(std::move(members));
}

std::string format_bytes(uint64_t bytes) {
  constexpr std::array<std::string_view, 7> kUnits = {"B", "KB", "MB", "GB", "TB", "PB", "EB"};
  if (bytes < 1024) return std::to_string(bytes) + "B";
  size_t unit = 0;
  auto value = static_cast<double>(bytes);
  // What two decimals would round up to 1024 belongs to the next unit.
  while (value >= 1023.995 && unit + 1 < kUnits.size()) {
    value /= 1024;
    ++unit;
  }
  char digits[32];
  const auto end = std::to_chars(digits, digits + sizeof digits, value, std::chars_format::fixed, 2).ptr;
  return std::string(digits, end) + std::string(kUnits[unit]);
}

}  // namespace nanochat
