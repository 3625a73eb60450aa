// The keys of one object of a manifest, each read once; what is left over is refused by name.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "base/json.h"

namespace nanochat {

// A value of null is refused like any other of the wrong type. Everything that does not fit throws
// config_invalid: "fleet.json: component 'E1': max_ms is "soon", expected a whole number from 1 to 86400000".
class ObjectReader {
 public:
  // `place`: "config", "component 'E1'"; "" for the whole file. Refuses what is no object.
  ObjectReader(const Json& object, std::string_view file_name, std::string_view place);

  std::optional<std::string> text(std::string_view key);
  std::optional<std::string> path(std::string_view key);  // not longer than a path may be
  std::optional<int64_t> integer(std::string_view key, int64_t smallest, int64_t largest);
  std::optional<uint64_t> unsigned_integer(std::string_view key);
  std::optional<double> number(std::string_view key, double smallest, double largest);
  std::optional<bool> flag(std::string_view key);
  const Json* object(std::string_view key);  // nullptr: no such key
  const Json* array(std::string_view key);
  bool has(std::string_view key) const { return object_.contains(key); }

  // Throws config_invalid naming file, place, key, value and what was expected.
  [[noreturn]] void refuse(std::string_view key, std::string_view expected) const;
  // The same of something that is not one key's value.
  [[noreturn]] void refuse_with(std::string_view key, std::string_view what) const;

  void finish() const;  // refuses a key that was not read

  const std::string& file_name() const { return file_name_; }
  const std::string& place() const { return place_; }

 private:
  const Json* take(std::string_view key);

  const Json& object_;
  std::string file_name_, place_;
  std::vector<std::string_view> known_;
};

}  // namespace nanochat
