// Counts, for each bit position, how many of the bit rows added had a one there. The counts are kept bit by
// bit across rows of words, so that one addition costs about two operations per 64 positions.
#pragma once

#include <cstdint>
#include <span>
#include <vector>

namespace nanochat {

class BitCounter {
 public:
  explicit BitCounter(size_t n_words) : n_words_(n_words), carry_(n_words) {}

  void add(std::span<const uint64_t> words) {
    carry_.assign(words.begin(), words.end());
    ++n_added_;
    uint64_t left = 1;
    for (size_t plane = 0; left != 0; ++plane) {
      if (plane == planes_.size()) planes_.emplace_back(n_words_, 0);
      left = 0;
      for (size_t i = 0; i < n_words_; ++i) {
        const uint64_t both = planes_[plane][i] & carry_[i];
        planes_[plane][i] ^= carry_[i];
        carry_[i] = both;
        left |= both;
      }
    }
  }

  uint64_t n_added() const { return n_added_; }

  uint64_t count(size_t position) const {
    uint64_t sum = 0;
    for (size_t plane = 0; plane < planes_.size(); ++plane) {
      sum |= (planes_[plane][position / 64] >> (position % 64) & 1) << plane;
    }
    return sum;
  }

 private:
  size_t n_words_;
  uint64_t n_added_ = 0;
  std::vector<uint64_t> carry_;
  std::vector<std::vector<uint64_t>> planes_;  // planes_[p]: bit p of every count
};

}  // namespace nanochat
