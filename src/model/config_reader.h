// Typed fields of a JSON object; whatever does not fit is refused with file, field, value and expectation.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace nanochat {

template <class T>
struct Range {
  T smallest, largest;
};

// Reads the fields of one object. null counts as absent: Hugging Face writes it for "the default".
class ConfigReader {
 public:
  ConfigReader(const Json& object, std::string_view file_name, std::string_view prefix = "");

  bool has(std::string_view key) const { return find(key) != nullptr; }
  int64_t integer(std::string_view key, Range<int64_t> range) const;
  int64_t integer(std::string_view key, Range<int64_t> range, int64_t fallback) const;
  double number(std::string_view key, Range<double> range) const;
  double number(std::string_view key, Range<double> range, double fallback) const;
  bool flag(std::string_view key, bool fallback) const;
  std::string text(std::string_view key, std::string_view fallback) const;
  // An array of integers, or one integer; empty if absent.
  std::vector<int64_t> integers(std::string_view key, Range<int64_t> range) const;
  ConfigReader object(std::string_view key) const;

  // Refuses the field unless it is absent or has this value.
  void require_integer(std::string_view key, int64_t value) const;
  void require_number(std::string_view key, double value) const;  // within 1e-6 of it, relative
  void require_flag(std::string_view key, bool value) const;
  void require_text(std::string_view key, std::string_view value) const;
  void require_absent(std::string_view key, std::string_view reason) const;
  void require_integers(std::string_view key, const std::vector<int64_t>& values) const;

  // config_invalid: "config.json: n_head is -3, expected an integer from 1 to 65536".
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;
  const Json& json() const { return *object_; }
  const std::string& file_name() const { return file_name_; }

 private:
  const Json* find(std::string_view key) const;
  std::string full_name(std::string_view key) const;

  const Json* object_;
  std::string file_name_, prefix_;
};

// The decimal number of fewest digits that reads back as the same float: 1.2, not 1.2000000476837158.
double shortest_decimal(float value);

}  // namespace nanochat
