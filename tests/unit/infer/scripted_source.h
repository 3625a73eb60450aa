// A sequence whose logits are a function of its tokens, and small tokenizers: generation without a model.
#pragma once

#include <cstdint>
#include <functional>
#include <memory>
#include <span>
#include <string>
#include <vector>

#include "base/error.h"
#include "infer/logit_source.h"
#include "tokenizer/tokenizer.h"

namespace nanochat::testing {

using Logits = std::vector<float>;

inline Logits one_hot(int64_t vocab_size, int32_t token) {
  Logits logits(static_cast<size_t>(vocab_size), 0.0F);
  logits.at(static_cast<size_t>(token)) = 10.0F;
  return logits;
}

class ScriptedSource final : public LogitSource {
 public:
  using Script = std::function<Logits(const std::vector<int32_t>& tokens)>;

  ScriptedSource(int64_t vocab_size, int64_t capacity, Script script)
      : script_(std::move(script)), capacity_(capacity) {
    config_.vocab_size = vocab_size;
  }

  ModelConfig& config() { return config_; }
  const ModelConfig& config() const override { return config_; }
  int64_t capacity() const override { return capacity_; }
  const std::vector<int32_t>& tokens() const override { return tokens_; }
  std::span<const float> last_logits() const override { return logits_; }
  uint64_t revision() const override { return revision_; }

  void append(std::span<const int32_t> tokens, LogitRows, float*, const Watch& watch) override {
    begin_call(watch);
    if (tokens_.size() + tokens.size() > static_cast<size_t>(capacity_)) {
      throw Error(Status::context_full).say("{} + {} tokens, {}", tokens_.size(), tokens.size(), capacity_);
    }
    tokens_.insert(tokens_.end(), tokens.begin(), tokens.end());
    logits_ = script_(tokens_);
    n_evaluated_ += static_cast<int64_t>(tokens.size());
    ++revision_;
  }

  void truncate(int64_t length) override {
    if (length == static_cast<int64_t>(tokens_.size())) return;
    tokens_.resize(static_cast<size_t>(length));
    logits_.clear();
    ++revision_;
  }

  void restore_logits(const Watch& watch) override {
    if (!logits_.empty()) return;
    begin_call(watch);
    logits_ = script_(tokens_);
  }

  void fail_at(int64_t call, Status status) { fail_at_ = call, fail_status_ = status; }
  int64_t n_calls() const { return n_calls_; }          // that compute
  int64_t n_evaluated() const { return n_evaluated_; }  // tokens

 private:
  void begin_call(const Watch& watch) {
    watch.check();
    if (n_calls_++ == fail_at_) throw Error(fail_status_).say("call {} fails by order", fail_at_);
  }

  Script script_;
  ModelConfig config_;
  int64_t capacity_;
  std::vector<int32_t> tokens_;
  Logits logits_;
  uint64_t revision_ = 0;
  int64_t n_calls_ = 0, n_evaluated_ = 0, fail_at_ = -1;
  Status fail_status_ = Status::cancelled;
};

// Says `script` from position `n_prompt` on, its last token for ever.
inline ScriptedSource::Script say(std::vector<int32_t> script, int64_t vocab_size, size_t n_prompt) {
  return [script = std::move(script), vocab_size, n_prompt](const std::vector<int32_t>& tokens) {
    const size_t step = tokens.size() < n_prompt ? 0 : tokens.size() - n_prompt;
    return one_hot(vocab_size, script[std::min(step, script.size() - 1)]);
  };
}

// The 256 bytes, then `more`, then nanochat's special tokens (or those given).
inline std::shared_ptr<const Tokenizer> byte_tokenizer(std::vector<std::string> more = {},
                                                       const std::vector<std::string>& special_texts = {
                                                           "<|bos|>", "<|user_start|>", "<|user_end|>",
                                                           "<|assistant_start|>", "<|assistant_end|>",
                                                           "<|python_start|>", "<|python_end|>",
                                                           "<|output_start|>", "<|output_end|>"}) {
  std::vector<std::string> token_bytes;
  for (int byte = 0; byte < 256; ++byte) token_bytes.emplace_back(1, static_cast<char>(byte));
  for (std::string& text : more) token_bytes.push_back(std::move(text));
  std::vector<SpecialToken> specials;
  for (const std::string& text : special_texts) {
    specials.push_back({text, static_cast<TokenId>(token_bytes.size() + specials.size())});
  }
  return make_byte_bpe(std::move(token_bytes), SplitPattern::nanochat, std::move(specials));
}

}  // namespace nanochat::testing
