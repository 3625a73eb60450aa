#include "tokenizer/json_node.h"

#include "base/excerpt.h"

namespace nanochat {

namespace {

std::string described(const Json& value) {
  if (value.is_object()) return "an object";
  if (value.is_array()) return format_text("an array of {}", value.size());
  return excerpt(write_json(value));
}

}  // namespace

void JsonNode::fail(Status status, std::string_view reason) const {
  throw Error(status).subject(file_).say("{}: {}: {}", file_, path_.empty() ? "the document" : path_, reason);
}

bool JsonNode::is_null() const { return value_->is_null(); }

bool JsonNode::has(const char* key) const {
  if (!value_->is_object()) invalid("expected an object, found {}", described(*value_));
  const Json* found = value_->find(key);
  return found != nullptr && !found->is_null();
}

JsonNode JsonNode::at(const char* key) const {
  if (!value_->is_object()) invalid("expected an object, found {}", described(*value_));
  const Json* found = value_->find(key);
  if (found == nullptr) invalid("'{}' is missing", key);
  return {*found, file_, path_.empty() ? key : path_ + "." + key};
}

JsonNode JsonNode::item(size_t index) const {
  return {(*value_)[index], file_, path_ + "[" + std::to_string(index) + "]"};
}

size_t JsonNode::array_size() const {
  if (!value_->is_array()) invalid("expected an array, found {}", described(*value_));
  return value_->size();
}

std::string JsonNode::text() const {
  if (!value_->is_string()) invalid("expected a string, found {}", described(*value_));
  return value_->get<std::string>();
}

int64_t JsonNode::integer(int64_t smallest, int64_t largest) const {
  const bool is_number = value_->is_number_integer();
  const bool fits = is_number && (!value_->is_number_unsigned() || value_->get<uint64_t>() <= INT64_MAX);
  const int64_t found = fits ? value_->get<int64_t>() : 0;
  if (!fits || found < smallest || found > largest) {
    invalid("expected an integer from {} to {}, found {}", smallest, largest, described(*value_));
  }
  return found;
}

bool JsonNode::boolean() const {
  if (!value_->is_boolean()) invalid("expected true or false, found {}", described(*value_));
  return value_->get<bool>();
}

std::string JsonNode::text(const char* key, std::string_view if_absent) const {
  return has(key) ? at(key).text() : std::string(if_absent);
}

bool JsonNode::boolean(const char* key, bool if_absent) const {
  return has(key) ? at(key).boolean() : if_absent;
}

}  // namespace nanochat
