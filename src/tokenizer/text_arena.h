// Many small texts kept in few blocks: no allocation for each, and they stay where they are.
#pragma once

#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace nanochat {

class TextArena {
 public:
  std::string_view keep(std::string_view text) {
    if (text.empty()) return {};
    if (text.size() > left_) {
      left_ = text.size() > kBlock ? text.size() : kBlock;
      blocks_.push_back(std::make_unique<char[]>(left_));
      end_ = blocks_.back().get();
    }
    char* const kept = end_;
    std::memcpy(kept, text.data(), text.size());
    end_ += text.size();
    left_ -= text.size();
    return {kept, text.size()};
  }

 private:
  static constexpr size_t kBlock = size_t{1} << 16;
  std::vector<std::unique_ptr<char[]>> blocks_;
  char* end_ = nullptr;
  size_t left_ = 0;
};

}  // namespace nanochat
