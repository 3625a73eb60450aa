// The state of one sequence: its tokens, its cache, the logits after its last token.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/cancel.h"
#include "infer/logit_source.h"
#include "model/decoder.h"
#include "model/kv_cache.h"

namespace nanochat {

// One thread at a time.
class Session final : public LogitSource {
 public:
  // capacity 0: the model's sequence_len. Throws out_of_range beyond the model's rope table.
  Session(std::shared_ptr<const Model> model, int64_t capacity, DType kv_dtype = DType::f32);
  std::unique_ptr<Session> copy() const;

  const Model& model() const { return cache_.model(); }
  const ModelConfig& config() const override { return cache_.model().config(); }
  int64_t length() const { return cache_.length(); }
  Device* device() const override { return &model().device(); }
  DType kv_dtype() const { return cache_.options().dtype; }
  int64_t capacity() const override { return cache_.capacity(); }
  const std::vector<int32_t>& tokens() const override { return tokens_; }
  // Empty before the first token, after truncate() and where last_top() was enough; restore_logits() computes
  // them again.
  std::span<const float> last_logits() const override { return last_logits_; }
  const TopLogits* last_top() const override { return last_top_ ? &*last_top_ : nullptr; }
  uint64_t revision() const override { return revision_; }  // changes with every change

  // Appends tokens; writes logits rows if asked for (`logits` may be null for LogitRows::none). Unchanged on
  // failure, but a cancelled LogitRows::all may have written some rows.
  void append(std::span<const int32_t> tokens, LogitRows which, float* logits, const Watch& watch) override;
  void append_for(const Sampler& sampler, std::span<const int32_t> tokens, const Watch& watch) override;
  void truncate(int64_t length) override;  // throws out_of_range

  // Evaluates the last token again if last_logits() is empty: the same bits as when it was appended.
  void restore_logits(const Watch& watch) override;

  // Drops tokens [n_keep, n_keep + n_drop) and computes the rest again at their new positions, as if it had
  // been appended to the first n_keep. If that fails, the first n_keep tokens are what is left. Throws
  // out_of_range.
  void slide(int64_t n_keep, int64_t n_drop, const Watch& watch);

  // File: magic, format version, XXH3-128 of the model's weights and of the payload, tokens, cache, logits.
  // A loaded session goes on with the same bits. load() without a kv_dtype takes the file's, else it refuses
  // a file of another one.
  void save(const std::string& path) const;
  static std::unique_ptr<Session> load(std::shared_ptr<const Model> model, const std::string& path,
                                       int64_t capacity, std::optional<DType> kv_dtype = {});

 private:
  explicit Session(KvCache cache);
  float* spare_logits();

  KvCache cache_;
  std::vector<int32_t> tokens_;  // room for the whole capacity is reserved
  std::vector<float> last_logits_;
  std::optional<TopLogits> last_top_;
  std::vector<float> spare_logits_;  // where the next ones are computed
  uint64_t revision_ = 0;
};

}  // namespace nanochat
