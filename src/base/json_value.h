// A JSON document in memory: null, boolean, integer, double, string, array or object.
#pragma once

#include <concepts>
#include <cstddef>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <string_view>
#include <utility>
#include <variant>
#include <vector>

namespace nanochat {

struct JsonMember;

// An object keeps the order of its keys, so that what we write is what we read. A look-up by key walks the
// object: iterate over items() of objects that may be large (a vocabulary, a list of tensors). A negative
// integer is an int64_t, one that the parser found without a sign a uint64_t; both compare and convert by
// value.
//
// Destruction allocates nothing, and neither does a move. It descends as deep as the document is nested; the
// parser bounds that. Asking a value for what it is not throws Error(internal): check what comes from
// outside.
class Json {
 public:
  using Array = std::vector<Json>;
  using Object = std::vector<JsonMember>;

  Json() noexcept;
  Json(std::nullptr_t) noexcept;
  Json(const char* text);
  Json(std::string_view text);
  Json(std::string text) noexcept;
  template <class T>
  requires std::integral<T> || std::floating_point<T> Json(T value) : value_(stored(value)) {}
  template <class T>
  Json(const std::vector<T>& list);
  template <class T, size_t n>
  requires(!std::same_as<T, char>) Json(const T (&list)[n]);
  Json(std::initializer_list<JsonMember> members);  // {{"key", value}, ...}: an object

  Json(const Json& other);
  Json(Json&& other) noexcept;
  Json& operator=(Json other) noexcept;  // `other` may be a part of this value
  ~Json();

  static Json array(std::initializer_list<Json> elements = {});
  static Json array(Array&& elements);
  static Json object();
  static Json object(Object&& members);  // the keys differ from each other

  bool is_null() const { return holds<std::monostate>(); }
  bool is_boolean() const { return holds<bool>(); }
  bool is_string() const { return holds<std::string>(); }
  bool is_array() const { return holds<Array>(); }
  bool is_object() const { return holds<Object>(); }
  bool is_number() const { return is_number_integer() || is_number_float(); }
  bool is_number_integer() const { return holds<int64_t>() || holds<uint64_t>(); }
  bool is_number_unsigned() const { return holds<uint64_t>(); }
  bool is_number_float() const { return holds<double>(); }
  const char* type_name() const;  // "null", "boolean", "number", "string", "array", "object"

  // T: bool, std::string, a vector of these, a floating type (takes any number), an integer type (takes an
  // integer that fits in it).
  template <class T>
  T get() const;
  template <std::same_as<const std::string&> T>
  T get_ref() const {
    return text();
  }

  size_t size() const;  // of an array or object; 0 of null, 1 of other values
  bool empty() const { return size() == 0; }

  // Arrays. A null value becomes an array when something is appended.
  const Json& at(size_t index) const;
  Json& at(size_t index);
  const Json& operator[](size_t index) const { return at(index); }
  Json& operator[](size_t index) { return at(index); }
  const Json& back() const { return at(size() - 1); }
  Array::const_iterator begin() const;
  Array::const_iterator end() const;
  Json& emplace_back(Json value);
  void push_back(Json value) { emplace_back(std::move(value)); }

  // Objects. find() and contains() may be asked of every value. A null value becomes an object when
  // operator[] writes to it, and a key that is not there is appended.
  const Json* find(std::string_view key) const;  // nullptr: no such key, or no object
  bool contains(std::string_view key) const { return find(key) != nullptr; }
  const Json& at(std::string_view key) const;
  Json& at(std::string_view key);
  const Json& operator[](std::string_view key) const { return at(key); }
  Json& operator[](std::string_view key);
  const Object& items() const;
  void erase(std::string_view key);

  // Numbers compare by value, objects with the order of their keys.
  friend bool operator==(const Json& a, const Json& b) { return equal(a, b); }

 private:
  template <class T>
  bool holds() const {
    return std::holds_alternative<T>(value_);
  }
  template <class T>
  static auto stored(T value) {
    if constexpr (std::same_as<T, bool>) {
      return value;
    } else if constexpr (std::floating_point<T>) {
      return static_cast<double>(value);
    } else if constexpr (std::signed_integral<T>) {
      return static_cast<int64_t>(value);
    } else {
      return static_cast<uint64_t>(value);
    }
  }
  [[noreturn]] void refuse(const char* expected) const;
  [[noreturn]] void refuse_range() const;
  bool boolean() const;
  double number() const;
  const std::string& text() const;
  const Array& elements() const;
  static bool equal(const Json& a, const Json& b);

  std::variant<std::monostate, bool, int64_t, uint64_t, double, std::string, Array, Object> value_;
};

struct JsonMember {
  std::string key;
  Json value;
  bool operator==(const JsonMember&) const = default;
};

// Here the members of an object are known, so that a Json can be made and destroyed.
inline Json::Json() noexcept = default;
inline Json::Json(std::nullptr_t) noexcept {}
inline Json::Json(const char* text) : value_(std::string(text)) {}
inline Json::Json(std::string_view text) : value_(std::string(text)) {}
inline Json::Json(std::string text) noexcept : value_(std::move(text)) {}
inline Json::Json(Json&& other) noexcept = default;
inline Json& Json::operator=(Json other) noexcept {
  value_.swap(other.value_);
  return *this;
}
inline Json::~Json() = default;

template <class T>
Json::Json(const std::vector<T>& list) {
  Array& elements = value_.emplace<Array>();
  elements.reserve(list.size());
  for (const T& element : list) elements.emplace_back(element);
}

template <class T, size_t n>
requires(!std::same_as<T, char>) Json::Json(const T (&list)[n]) {
  Array& elements = value_.emplace<Array>();
  elements.reserve(n);
  for (const T& element : list) elements.emplace_back(element);
}

template <class T>
T Json::get() const {
  if constexpr (std::same_as<T, bool>) {
    return boolean();
  } else if constexpr (std::same_as<T, std::string>) {
    return text();
  } else if constexpr (std::floating_point<T>) {
    return static_cast<T>(number());
  } else if constexpr (std::integral<T>) {
    const auto convert = [this](auto integer) {
      if (!std::in_range<T>(integer)) refuse_range();
      return static_cast<T>(integer);
    };
    if (const auto* integer = std::get_if<uint64_t>(&value_)) return convert(*integer);
    if (const auto* integer = std::get_if<int64_t>(&value_)) return convert(*integer);
    refuse("an integer");
  } else {
    T list;
    for (const Json& element : elements()) list.push_back(element.get<typename T::value_type>());
    return list;
  }
}

}  // namespace nanochat
