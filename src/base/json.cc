#include "base/json.h"

#include <algorithm>
#include <utility>
#include <vector>

#include <nlohmann/json.hpp>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/json_text.h"

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

// nlohmann's SAX interface on one side, ours on the other. nlohmann's own tree is never built: its destructor
// allocates, and ends the process if it cannot.
class EventBridge {
 public:
  using Parser = nlohmann::json;

  EventBridge(std::string_view name, size_t size, JsonEvents& events)
      : name_(name), size_(size), events_(events) {}

  bool null() { return scalar(Json()); }
  bool boolean(bool value) { return scalar(Json(value)); }
  bool number_integer(Parser::number_integer_t value) { return scalar(Json(value)); }
  bool number_unsigned(Parser::number_unsigned_t value) { return scalar(Json(value)); }
  bool number_float(Parser::number_float_t value, const std::string&) { return scalar(Json(value)); }
  bool string(std::string& value) { return scalar(Json(std::move(value))); }
  bool binary(Parser::binary_t&) { return false; }

  bool start_object(size_t) {
    return told([&] { events_.start_object(); });
  }
  bool end_object() {
    return told([&] { events_.end_object(); });
  }
  bool start_array(size_t) {
    return told([&] { events_.start_array(); });
  }
  bool end_array() {
    return told([&] { events_.end_array(); });
  }
  bool key(std::string& key) {
    return told([&] { events_.key(std::move(key)); });
  }

  bool parse_error(size_t n_read, const std::string&, const nlohmann::detail::exception& error) {
    refuse_at(name_, n_read > 0 ? n_read - 1 : 0, size_, reason_of(error));
  }

 private:
  template <class Tell>
  bool told(const Tell& tell) {
    tell();
    return true;
  }
  bool scalar(Json&& value) {
    events_.scalar(std::move(value));
    return true;
  }

  std::string_view name_;
  size_t size_;
  JsonEvents& events_;
};

// Builds the document. Members and elements wait on one stack until their container is complete and its size
// known.
class DocumentBuilder final : public JsonEvents {
 public:
  DocumentBuilder(std::string_view name, const OnMember* on_member) : name_(name), on_member_(on_member) {}

  void scalar(Json&& value) override { add(std::move(value)); }
  void key(std::string&& key) override { keys_.push_back(std::move(key)); }
  void start_object() override { open(true); }
  void start_array() override { open(false); }

  void end_object() override {
    const Frame frame = close();
    check_unique(frame.first_key);
    Json::Object members;
    if (!streaming(0)) {
      members.reserve(keys_.size() - frame.first_key);
      for (size_t i = frame.first_key, v = frame.first_value; i < keys_.size(); ++i, ++v) {
        members.push_back({std::move(keys_[i]), std::move(values_[v])});
      }
    }
    keys_.resize(frame.first_key);
    values_.resize(frame.first_value);
    add(Json::object(std::move(members)));
  }

  void end_array() override {
    const Frame frame = close();
    const auto first = values_.begin() + static_cast<std::ptrdiff_t>(frame.first_value);
    Json::Array elements(std::make_move_iterator(first), std::make_move_iterator(values_.end()));
    values_.resize(frame.first_value);
    add(Json::array(std::move(elements)));
  }

  Json take() { return std::move(values_.at(0)); }

 private:
  struct Frame {
    size_t first_value, first_key;
  };

  bool streaming(size_t depth) const { return on_member_ != nullptr && frames_.size() == depth; }

  void open(bool is_object) {
    if (streaming(0) && !is_object) refuse(name_, "the document is an array, expected an object");
    if (frames_.size() == kMaxDepth) refuse(name_, format_text("nested deeper than {} levels", kMaxDepth));
    frames_.push_back({values_.size(), keys_.size()});
  }

  Frame close() {
    const Frame frame = frames_.back();
    frames_.pop_back();
    return frame;
  }

  void add(Json&& value) {
    if (streaming(0) && !value.is_object()) {
      refuse(name_, format_text("the document is a {}, expected an object", value.type_name()));
    }
    if (streaming(1)) {
      (*on_member_)(keys_.back(), std::move(value));
    } else {
      values_.push_back(std::move(value));
    }
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
  const OnMember* on_member_;
  std::vector<Frame> frames_;
  std::vector<Json> values_;
  std::vector<std::string> keys_;  // of the open objects; keys_[i] belongs to the value of the same rank
};

class Writer {
 public:
  explicit Writer(int indent) : indent_(indent) {}

  void value(const Json& json) {
    if (json.is_object())
      return list('{', '}', json.items(), [&](const JsonMember& member) {
        append_json_string(out_, member.key);
        out_ += indent_ < 0 ? ":" : ": ";
        value(member.value);
      });
    if (json.is_array()) return list('[', ']', json, [&](const Json& element) { value(element); });
    scalar(json);
  }

  std::string take() { return std::move(out_); }

 private:
  void scalar(const Json& json) {
    if (json.is_string()) {
      append_json_string(out_, json.get_ref<const std::string&>());
    } else if (json.is_number_float()) {
      append_json_number(out_, json.get<double>());
    } else if (json.is_number_unsigned()) {
      out_ += std::to_string(json.get<uint64_t>());
    } else if (json.is_number_integer()) {
      out_ += std::to_string(json.get<int64_t>());
    } else {
      out_ += json.is_null() ? "null" : json.get<bool>() ? "true" : "false";
    }
  }

  template <class List, class WriteOne>
  void list(char open, char close, const List& elements, const WriteOne& write_one) {
    out_ += open;
    if (!elements.empty()) {
      ++depth_;
      const char* separator = "";
      for (const auto& element : elements) {
        out_ += separator;
        separator = ",";
        start_line();
        write_one(element);
      }
      --depth_;
      start_line();
    }
    out_ += close;
  }

  void start_line() {
    if (indent_ < 0) return;
    out_ += '\n';
    out_.append(depth_ * static_cast<size_t>(indent_), ' ');
  }

  int indent_;
  size_t depth_ = 0;
  std::string out_;
};

Json build(std::string_view text, std::string_view name, const OnMember* on_member) {
  DocumentBuilder builder(name, on_member);
  parse_json_events(text, name, builder);
  return builder.take();
}

}  // namespace

Json parse_json(std::string_view text, std::string_view name) { return build(text, name, nullptr); }

void parse_json_object(std::string_view text, std::string_view name, const OnMember& on_member) {
  build(text, name, &on_member);
}

void parse_json_events(std::string_view text, std::string_view name, JsonEvents& events) {
  // The parser takes a NUL byte for the end of the text, whatever follows it.
  if (const size_t nul = text.find('\0'); nul != std::string_view::npos) {
    refuse_at(name, nul, text.size(), "NUL byte");
  }
  EventBridge bridge(name, text.size(), events);
  try {
    if (!nlohmann::json::sax_parse(text.begin(), text.end(), &bridge)) refuse(name, "the parser stopped");
  } catch (const nlohmann::json::exception& error) {
    refuse(name, excerpt(reason_of(error), kReasonBytes));
  }
}

std::string write_json(const Json& document, int indent) {
  Writer writer(indent);
  writer.value(document);
  return writer.take();
}

}  // namespace nanochat
