#include "base/json_value.h"

#include <algorithm>

#include "base/error.h"

namespace nanochat {

namespace {

template <class Members>
auto find_member(Members& members, std::string_view key) {
  return std::find_if(members.begin(), members.end(), [key](const JsonMember& m) { return m.key == key; });
}

}  // namespace

// The copy of a variant in libstdc++ 12 destroys what it has not made when an allocation fails: the value is
// copied first and moved in.
Json::Json(const Json& other) {
  std::visit(
      [this](const auto& value) {
        auto copy = value;
        value_ = std::move(copy);
      },
      other.value_);
}

Json::Json(std::initializer_list<JsonMember> members) : value_(Object(members)) {}

Json Json::array(std::initializer_list<Json> elements) { return array(Array(elements)); }

Json Json::array(Array&& elements) {
  Json array;
  array.value_ = std::move(elements);
  return array;
}

Json Json::object() { return object(Object()); }

Json Json::object(Object&& members) {
  Json object;
  object.value_ = std::move(members);
  return object;
}

const char* Json::type_name() const {
  static constexpr const char* kNames[] = {"null",   "boolean", "number", "number",
                                           "number", "string",  "array",  "object"};
  return kNames[value_.index()];
}

void Json::refuse(const char* expected) const {
  throw_internal(format_text("a JSON value is {}, expected {}", type_name(), expected));
}

void Json::refuse_range() const { throw_internal("a JSON integer does not fit in the type asked for"); }

bool Json::boolean() const {
  const bool* value = std::get_if<bool>(&value_);
  if (value == nullptr) refuse("a boolean");
  return *value;
}

double Json::number() const {
  if (const auto* value = std::get_if<double>(&value_)) return *value;
  if (const auto* value = std::get_if<int64_t>(&value_)) return static_cast<double>(*value);
  if (const auto* value = std::get_if<uint64_t>(&value_)) return static_cast<double>(*value);
  refuse("a number");
}

const std::string& Json::text() const {
  const auto* value = std::get_if<std::string>(&value_);
  if (value == nullptr) refuse("a string");
  return *value;
}

const Json::Array& Json::elements() const {
  const auto* value = std::get_if<Array>(&value_);
  if (value == nullptr) refuse("an array");
  return *value;
}

const Json::Object& Json::items() const {
  const auto* value = std::get_if<Object>(&value_);
  if (value == nullptr) refuse("an object");
  return *value;
}

size_t Json::size() const {
  if (const auto* value = std::get_if<Array>(&value_)) return value->size();
  if (const auto* value = std::get_if<Object>(&value_)) return value->size();
  return is_null() ? 0 : 1;
}

const Json& Json::at(size_t index) const {
  const Array& list = elements();
  if (index >= list.size()) {
    throw_internal(format_text("a JSON array has {} elements, asked for number {}", list.size(), index));
  }
  return list[index];
}

Json& Json::at(size_t index) { return const_cast<Json&>(std::as_const(*this).at(index)); }

Json::Array::const_iterator Json::begin() const { return elements().begin(); }
Json::Array::const_iterator Json::end() const { return elements().end(); }

Json& Json::emplace_back(Json value) {
  if (is_null()) value_.emplace<Array>();
  auto* list = std::get_if<Array>(&value_);
  if (list == nullptr) refuse("an array");
  return list->emplace_back(std::move(value));
}

const Json* Json::find(std::string_view key) const {
  const auto* members = std::get_if<Object>(&value_);
  if (members == nullptr) return nullptr;
  const auto found = find_member(*members, key);
  return found == members->end() ? nullptr : &found->value;
}

const Json& Json::at(std::string_view key) const {
  const Json* found = find(key);
  if (found != nullptr) return *found;
  if (!is_object()) refuse("an object");
  throw_internal(format_text("a JSON object has no key '{}'", key));
}

Json& Json::at(std::string_view key) { return const_cast<Json&>(std::as_const(*this).at(key)); }

Json& Json::operator[](std::string_view key) {
  if (is_null()) value_.emplace<Object>();
  auto* members = std::get_if<Object>(&value_);
  if (members == nullptr) refuse("an object");
  const auto found = find_member(*members, key);
  if (found != members->end()) return found->value;
  return members->emplace_back(JsonMember{std::string(key), Json()}).value;
}

void Json::erase(std::string_view key) {
  auto* members = std::get_if<Object>(&value_);
  if (members == nullptr) refuse("an object");
  const auto found = find_member(*members, key);
  if (found != members->end()) members->erase(found);
}

bool Json::equal(const Json& a, const Json& b) {
  if (a.is_number() && b.is_number()) {
    if (a.is_number_float() || b.is_number_float()) return a.number() == b.number();
    if (a.value_.index() != b.value_.index()) {
      const Json& with_sign = a.is_number_unsigned() ? b : a;
      const Json& without = a.is_number_unsigned() ? a : b;
      return std::cmp_equal(std::get<int64_t>(with_sign.value_), std::get<uint64_t>(without.value_));
    }
  }
  return a.value_ == b.value_;
}

}  // namespace nanochat
