#include "base/json.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/excerpt.h"

namespace nanochat {

namespace {

constexpr size_t kMaxDepth = 128;
constexpr size_t kReasonBytes = 300;  // of the parser's own message, which quotes the token it stopped at

using OnMember = std::function<void(const std::string& key, Json&& value)>;

[[noreturn]] void refuse(std::string_view name, std::string_view reason) {
  throw Error(Status::format_invalid).subject(name).say("{}: not valid JSON: {}", name, reason);
}

[[noreturn]] void refuse_at(std::string_view name, size_t offset, size_t size, std::string_view reason) {
  throw Error(Status::format_invalid)
      .subject(name)
      .say("{}: not valid JSON at byte {} of {}: {}", name, offset, size, excerpt(reason, kReasonBytes));
}

// "[json.exception.parse_error.101] parse error at line 1, column 2: ..." without the bracket.
std::string_view reason_of(const std::exception& error) {
  const std::string_view text = error.what();
  const size_t bracket = text.find("] ");
  return bracket == std::string_view::npos ? text : text.substr(bracket + 2);
}

// Builds the document from the parser's events. Members and elements wait on one stack until their container
// is complete and its size known: growing nlohmann's ordered object one by one searches for the key each time
// and copies every value at each reallocation.
class DocumentBuilder {
 public:
  DocumentBuilder(std::string_view name, size_t size, const OnMember* on_member)
      : name_(name), size_(size), on_member_(on_member) {}

  bool null() { return add(Json()); }
  bool boolean(bool value) { return add(Json(value)); }
  bool number_integer(Json::number_integer_t value) { return add(Json(value)); }
  bool number_unsigned(Json::number_unsigned_t value) { return add(Json(value)); }
  bool number_float(Json::number_float_t value, const std::string&) { return add(Json(value)); }
  bool string(std::string& value) { return add(Json(std::move(value))); }
  bool binary(Json::binary_t&) { return false; }

  bool start_object(size_t) { return open(true); }
  bool start_array(size_t) { return open(false); }

  bool key(std::string& value) {
    keys_.push_back(std::move(value));
    return true;
  }

  bool end_object() {
    const Frame frame = close();
    check_unique(frame.first_key);
    Json object = Json::object();
    if (!streaming(0)) {
      auto& members = object.get_ref<Json::object_t&>();
      members.reserve(keys_.size() - frame.first_key);
      for (size_t i = frame.first_key, v = frame.first_value; i < keys_.size(); ++i, ++v) {
        members.emplace_back(std::move(keys_[i]), std::move(values_[v]));
      }
    }
    keys_.resize(frame.first_key);
    values_.resize(frame.first_value);
    return add(std::move(object));
  }

  bool end_array() {
    const Frame frame = close();
    const auto first = values_.begin() + static_cast<std::ptrdiff_t>(frame.first_value);
    Json array = Json::array();
    array.get_ref<Json::array_t&>().assign(std::make_move_iterator(first),
                                           std::make_move_iterator(values_.end()));
    values_.resize(frame.first_value);
    return add(std::move(array));
  }

  bool parse_error(size_t n_read, const std::string&, const nlohmann::detail::exception& error) {
    refuse_at(name_, n_read > 0 ? n_read - 1 : 0, size_, reason_of(error));
  }

  Json take() { return std::move(values_.at(0)); }

 private:
  struct Frame {
    size_t first_value, first_key;
  };

  bool streaming(size_t depth) const { return on_member_ != nullptr && frames_.size() == depth; }

  bool open(bool is_object) {
    if (streaming(0) && !is_object) refuse(name_, "the document is an array, expected an object");
    if (frames_.size() == kMaxDepth) refuse(name_, format_text("nested deeper than {} levels", kMaxDepth));
    frames_.push_back({values_.size(), keys_.size()});
    return true;
  }

  Frame close() {
    const Frame frame = frames_.back();
    frames_.pop_back();
    return frame;
  }

  bool add(Json&& value) {
    if (streaming(0) && !value.is_object()) {
      refuse(name_, format_text("the document is a {}, expected an object", value.type_name()));
    }
    if (streaming(1)) {
      (*on_member_)(keys_.back(), std::move(value));
      return true;
    }
    values_.push_back(std::move(value));
    return true;
  }

  void check_unique(size_t first_key) const {
    const size_t n = keys_.size() - first_key;
    if (n < 2) return;
    std::vector<std::string_view> sorted(keys_.begin() + static_cast<std::ptrdiff_t>(first_key), keys_.end());
    std::sort(sorted.begin(), sorted.end());
    const auto twice = std::adjacent_find(sorted.begin(), sorted.end());
    if (twice != sorted.end()) {
      refuse(name_, format_text("key '{}' appears twice in one object", excerpt(*twice)));
    }
  }

  std::string_view name_;
  size_t size_;
  const OnMember* on_member_;
  std::vector<Frame> frames_;
  std::vector<Json> values_;
  std::vector<std::string> keys_;  // of the open objects; keys_[i] belongs to the value of the same rank
};

Json build(std::string_view text, std::string_view name, const OnMember* on_member) {
  // The parser takes a NUL byte for the end of the text, whatever follows it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    refuse_at(name, nul, text.size(), "NUL byte");
  }
  DocumentBuilder builder(name, text.size(), on_member);
  try {
    if (!Json::sax_parse(text.begin(), text.end(), &builder)) refuse(name, "the parser stopped");
  } catch (const nlohmann::json::exception& error) {
    refuse(name, excerpt(reason_of(error), kReasonBytes));
  }
  return builder.take();
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) { return build(text, name, nullptr); }

void parse_json_object(std::string_view text, std::string_view name, const OnMember& on_member) {
  build(text, name, &on_member);
}

std::string write_json(const Json& document, int indent) {
  return document.dump(indent, ' ', false, Json::error_handler_t::replace);
}

}  // namespace nanochat
