// Finds all tokens that begin at a place of a text, one byte after another: a double array, two reads a byte.
#pragma once

#include <cstdint>
#include <string_view>
#include <utility>
#include <vector>

namespace nanochat {

class PieceTrie {
 public:
  using Key = std::pair<std::string_view, int32_t>;  // a text, not empty, and its value, >= 0

  PieceTrie() = default;
  explicit PieceTrie(std::vector<Key> keys);  // of equal texts the last counts

  static constexpr uint32_t kRoot = 0;
  // Goes down by one byte. False: no text goes on like that, and `node` is as it was.
  bool step(uint32_t& node, char byte) const {
    const uint32_t next = units_[node].base ^ static_cast<uint8_t>(byte);
    if (units_[next].parent != node) return false;
    node = next;
    return true;
  }
  int32_t value(uint32_t node) const { return units_[node].value; }  // -1: no text ends here

 private:
  class Builder;
  static constexpr uint32_t kNone = UINT32_MAX;
  struct Unit {
    uint32_t base = 0;  // the child by byte b is the unit base ^ b, if its parent is this one
    uint32_t parent = kNone;
    int32_t value = -1;
  };

  std::vector<Unit> units_ = std::vector<Unit>(256);  // whole blocks, so that base ^ b is inside
};

}  // namespace nanochat
