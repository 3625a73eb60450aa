// The state of one sequence: its tokens, its cache, the logits after its last token.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace nanochat {

// One thread at a time.
class Session {
 public:
  // capacity 0: the model's sequence_len.
  Session(std::shared_ptr<const Model> model, int64_t capacity);
  std::unique_ptr<Session> copy() const;

  const Model& model() const { return cache_.model(); }
  int64_t length() const { return cache_.length(); }
  int64_t capacity() const { return cache_.capacity(); }
  const std::vector<int32_t>& tokens() const { return tokens_; }
  std::span<const float> last_logits() const { return last_logits_; }  // empty before the first token
  uint64_t revision() const { return revision_; }                       // changes with every change

  // Appends tokens; writes logits rows if asked for. Unchanged on failure.
  void append(std::span<const int32_t> tokens, LogitRows which, float* logits, const Watch& watch);
  void truncate(int64_t length);  // throws out_of_range

  // Drops tokens [n_keep, n_keep + n_drop) and computes the rest again at their new positions.
  void slide(int64_t n_keep, int64_t n_drop, const Watch& watch);

  // File: magic, format version, XXH3-128 of the model's weights and of the payload, tokens, cache, logits.
  void save(const std::string& path) const;
  static std::unique_ptr<Session> load(std::shared_ptr<const Model> model, const std::string& path, int64_t capacity);

 private:
  explicit Session(KvCache cache) : cache_(std::move(cache)) {}
  KvCache cache_;
  std::vector<int32_t> tokens_;
  std::vector<float> last_logits_;
  uint64_t revision_ = 0;
};

}  // namespace nanochat
