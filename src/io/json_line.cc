#include "io/json_line.h"

#include <array>
#include <bit>
#include <cstdint>
#include <cstring>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json.h"
#include "base/utf8.h"

namespace nanochat {

namespace {

static_assert(std::endian::native == std::endian::little, "eight bytes are looked at as one number");

// Reads flat objects of strings, plain numbers and literals. It gives up where it is not sure, and the parser
// of the library decides: escapes in keys, nesting, exponents, many members, and everything that is wrong.
class FlatObject {
 public:
  FlatObject(std::string_view line, std::string_view field, std::string& buffer)
      : text_(line), field_(field), buffer_(buffer) {}

  // False: given up. `value` is what the field holds.
  bool find(std::string_view& value) {
    bool found = false;
    spaces();
    if (!take('{')) return false;
    do {
      std::string_view key;
      spaces();
      if (!plain_key(key)) return false;
      spaces();
      if (!take(':')) return false;
      spaces();
      if (key == field_) {
        found = true;
        if (!string(value, buffer_)) return false;
      } else if (!other_value()) {
        return false;
      }
      spaces();
    } while (take(','));
    if (!take('}')) return false;
    spaces();
    return found && at_ == text_.size();
  }

 private:
  static constexpr size_t kMaxKeys = 16, kMaxDigits = 15;

  bool take(char wanted) {
    if (at_ >= text_.size() || text_[at_] != wanted) return false;
    ++at_;
    return true;
  }
  void spaces() {
    while (at_ < text_.size() && (text_[at_] == ' ' || text_[at_] == '\t' || text_[at_] == '\r')) ++at_;
  }

  bool plain_key(std::string_view& key) {
    if (!take('"') || n_keys_ == kMaxKeys) return false;
    const size_t begin = at_;
    skip_plain();
    key = text_.substr(begin, at_ - begin);
    if (!take('"')) return false;
    for (size_t i = 0; i < n_keys_; ++i) {
      if (keys_[i] == key) return false;
    }
    keys_[n_keys_++] = key;
    return true;
  }

  bool other_value() {
    if (at_ < text_.size() && text_[at_] == '"') {
      std::string_view ignored;
      return string(ignored, ignored_);
    }
    for (const std::string_view literal : {"true", "false", "null"}) {
      if (!text_.substr(at_).starts_with(literal)) continue;
      at_ += literal.size();
      return true;
    }
    return number();
  }

  bool digits(size_t& n) {
    const size_t begin = at_;
    while (at_ < text_.size() && text_[at_] >= '0' && text_[at_] <= '9') ++at_;
    n = at_ - begin;
    return n > 0 && n <= kMaxDigits;
  }
  bool number() {
    take('-');
    const size_t begin = at_;
    size_t n = 0;
    if (!digits(n) || (n > 1 && text_[begin] == '0')) return false;
    if (take('.') && !digits(n)) return false;
    return at_ < text_.size() && text_[at_] != 'e' && text_[at_] != 'E';
  }

  // To the next byte that is no printable ASCII, a quote or a backslash.
  void skip_plain() {
    constexpr uint64_t kOnes = 0x0101010101010101u, kHighs = 0x8080808080808080u;
    const auto has_zero = [](uint64_t x) { return (x - kOnes) & ~x & kHighs; };
    while (at_ + 8 <= text_.size()) {
      uint64_t eight;
      std::memcpy(&eight, text_.data() + at_, sizeof eight);
      const uint64_t control = (eight - kOnes * 0x20) & ~eight & kHighs;
      const uint64_t special =
          (eight & kHighs) | control | has_zero(eight ^ kOnes * '"') | has_zero(eight ^ kOnes * '\\');
      if (special != 0) {
        at_ += static_cast<size_t>(std::countr_zero(special)) / 8;
        return;
      }
      at_ += 8;
    }
    while (at_ < text_.size()) {
      const auto c = static_cast<unsigned char>(text_[at_]);
      if (c < 0x20 || c >= 0x80 || c == '"' || c == '\\') return;
      ++at_;
    }
  }

  // The value lies in the text, or in `buffer` if it has escapes.
  bool string(std::string_view& value, std::string& buffer) {
    if (!take('"')) return false;
    buffer.clear();
    size_t begin = at_;  // of what is not in the buffer yet
    while (true) {
      skip_plain();
      if (at_ >= text_.size()) return false;
      const char c = text_[at_];
      if (c == '"') break;
      if (c == '\\') {
        buffer.append(text_, begin, at_ - begin);
        if (!escape(buffer)) return false;
        begin = at_;
      } else if (static_cast<unsigned char>(c) >= 0x80) {
        const DecodedCodepoint decoded = decode_utf8(text_, at_);
        if (!decoded.valid) return false;
        at_ += decoded.length;
      } else {
        return false;
      }
    }
    value = text_.substr(begin, at_ - begin);
    if (!buffer.empty()) {
      buffer += value;
      value = buffer;
    }
    ++at_;
    return true;
  }

  bool escape(std::string& buffer) {
    if (at_ + 1 >= text_.size()) return false;
    const char kind = text_[at_ + 1];
    at_ += 2;
    constexpr std::string_view kKinds = "\"\\/bfnrt", kMeanings = "\"\\/\b\f\n\r\t";
    const size_t index = kKinds.find(kind);
    if (index != std::string_view::npos) {
      buffer += kMeanings[index];
      return true;
    }
    uint32_t unit = 0, low = 0;
    if (kind != 'u' || !hex4(unit)) return false;
    if (unit >= 0xd800 && unit < 0xe000) {
      if (unit >= 0xdc00 || !take('\\') || !take('u') || !hex4(low)) return false;
      if (low < 0xdc00 || low >= 0xe000) return false;
      unit = 0x10000 + ((unit - 0xd800) << 10 | (low - 0xdc00));
    }
    if (unit == 0) return false;
    append_utf8(buffer, unit);
    return true;
  }
  bool hex4(uint32_t& value) {
    if (text_.size() - at_ < 4) return false;
    value = 0;
    for (int i = 0; i < 4; ++i) {
      const char c = text_[at_++];
      const char lower = static_cast<char>(c | 0x20);
      if (c >= '0' && c <= '9') {
        value = value << 4 | static_cast<uint32_t>(c - '0');
      } else if (lower >= 'a' && lower <= 'f') {
        value = value << 4 | static_cast<uint32_t>(lower - 'a' + 10);
      } else {
        return false;
      }
    }
    return true;
  }

  std::string_view text_, field_;
  std::string& buffer_;
  std::string ignored_;
  size_t at_ = 0;
  std::array<std::string_view, kMaxKeys> keys_;
  size_t n_keys_ = 0;
};

}  // namespace

std::string_view json_string_member(std::string_view line, std::string_view field, std::string& buffer,
                                    const std::function<std::string()>& name) {
  std::string_view value;
  if (FlatObject(line, field, buffer).find(value)) return value;
  const std::string named = name();
  const Json document = parse_json(line, named);
  const auto refuse = [&](std::string_view found) {
    throw Error(Status::format_invalid)
        .subject(named)
        .say("{}: expected an object with the text in \"{}\", found {}", named, excerpt(field), found);
  };
  if (!document.is_object()) refuse(document.type_name());
  if (!document.contains(field)) refuse("no such member");
  const Json& member = document.at(field);
  if (!member.is_string()) refuse(format_text("{} there", member.type_name()));
  buffer = member.get<std::string>();
  return buffer;
}

}  // namespace nanochat
