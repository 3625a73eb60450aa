// Real, small models: stories260K (trained) and tiny ones of nanochat's generations.
#pragma once

#include <functional>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "device_under_test.h"
#include "infer/session.h"
#include "memory/memory.h"
#include "model/model.h"
#include "tensor/device.h"

namespace nanochat::testing {

inline const std::string kStories = NANOCHAT_TEST_DATA "/models/stories260K";
inline const std::string kSmearing =
    NANOCHAT_TEST_DATA "/golden/model/v1_chunked";  // smear, value embeddings
inline const std::string kPlain = NANOCHAT_TEST_DATA "/golden/model/v0_gqa_4_2";

// Host memory that tells of every allocation first; `false` as the answer makes it fail.
class WatchedMemory final : public RawMemory {
 public:
  using Ask = std::function<bool()>;
  void ask(Ask ask) { ask_ = std::move(ask); }
  void* allocate(size_t bytes, size_t alignment) noexcept override {
    return !ask_ || ask_() ? host_->allocate(bytes, alignment) : nullptr;
  }
  void free(void* pointer, size_t bytes, size_t alignment) noexcept override {
    host_->free(pointer, bytes, alignment);
  }
  uint64_t total_bytes() const override { return host_->total_bytes(); }
  uint64_t available_bytes() const override { return host_->available_bytes(); }

 private:
  std::shared_ptr<RawMemory> host_ = make_host_memory();
  Ask ask_;
};

// Of a device by its name. `raw` is the host's alone.
struct Host {
  std::shared_ptr<WatchedMemory> raw = std::make_shared<WatchedMemory>();
  std::shared_ptr<Device> device;

  explicit Host(const std::string& name = "", int n_threads = 2)
      : device(is_cuda(name) ? device_for_test(name) : make_device(name, n_threads, 0, raw)) {}
  std::shared_ptr<const Model> load(const std::string& path, const ModelOptions& options = {}) const {
    return Model::load(device, path, options, {});
  }
};

inline std::string name_of_model(const std::string& path) { return path.substr(path.rfind('/') + 1); }

inline std::vector<int32_t> some_tokens(const Model& model, size_t n, uint64_t seed = 1) {
  std::vector<int32_t> tokens;
  for (size_t i = 0; i < n; ++i) {
    seed = seed * 6364136223846793005U + 1442695040888963407U;
    tokens.push_back(static_cast<int32_t>((seed >> 33) % static_cast<uint64_t>(model.config().vocab_size)));
  }
  return tokens;
}

inline void append(Session& session, std::span<const int32_t> tokens) {
  session.append(tokens, LogitRows::none, nullptr, {});
}

inline std::vector<float> logits_of(const Session& session) {
  return {session.last_logits().begin(), session.last_logits().end()};
}

// The logits after the session's tokens and `more`, computed by nothing but one forward pass.
inline std::vector<float> fresh_logits(const std::shared_ptr<const Model>& model,
                                       std::vector<int32_t> tokens) {
  Session session(model, 0);
  append(session, tokens);
  return logits_of(session);
}

inline Status status_of(const std::function<void()>& call) {
  try {
    call();
  } catch (const Error& error) {
    return error.status();
  }
  return Status::ok;
}

}  // namespace nanochat::testing
