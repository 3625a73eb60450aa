// The library's handles as owning pointers, and calls that throw Failure instead of returning a status.
#pragma once

#include <nanochat.h>

#include <memory>

#include "failure.h"

namespace nanochat::cli {

template <auto Free>
struct FreeWith {
  template <typename T>
  void operator()(T* handle) const {
    Free(handle);
  }
};

using Text = std::unique_ptr<nanochat_text, FreeWith<nanochat_text_free>>;
using Cancel = std::unique_ptr<nanochat_cancel, FreeWith<nanochat_cancel_free>>;
using Runtime = std::unique_ptr<nanochat_runtime, FreeWith<nanochat_runtime_free>>;
using Tokenizer = std::unique_ptr<nanochat_tokenizer, FreeWith<nanochat_tokenizer_free>>;
using Encoding = std::unique_ptr<nanochat_encoding, FreeWith<nanochat_encoding_free>>;
using Model = std::unique_ptr<nanochat_model, FreeWith<nanochat_model_free>>;
using Session = std::unique_ptr<nanochat_session, FreeWith<nanochat_session_free>>;
using Generation = std::unique_ptr<nanochat_generation, FreeWith<nanochat_generation_free>>;
using Scheduler = std::unique_ptr<nanochat_scheduler, FreeWith<nanochat_scheduler_free>>;
using Embeddings = std::unique_ptr<nanochat_embeddings, FreeWith<nanochat_embeddings_free>>;
using Registry = std::unique_ptr<nanochat_registry, FreeWith<nanochat_registry_free>>;
using HealthReport = std::unique_ptr<nanochat_health_report, FreeWith<nanochat_health_report_free>>;
using Request = std::unique_ptr<nanochat_request, FreeWith<nanochat_request_free>>;

// Throws Interrupted for a cancelled call, Failure with `exit` for every other status but NANOCHAT_OK.
inline void check(Exit exit, nanochat_status status, nanochat_error* error) {
  if (status == NANOCHAT_OK) return;
  if (status == NANOCHAT_STATUS_CANCELLED) {
    nanochat_error_free(error);
    throw Interrupted{};
  }
  throw Failure(exit, status, error);
}

// function(args..., &error)
template <typename Function, typename... Args>
void call(Exit exit, Function function, Args... args) {
  nanochat_error* error = nullptr;
  const nanochat_status status = function(args..., &error);
  check(exit, status, error);
}

// function(args..., &handle, &error)
template <typename Handle, typename Function, typename... Args>
Handle make(Exit exit, Function function, Args... args) {
  typename Handle::pointer handle = nullptr;
  call(exit, function, args..., &handle);
  return Handle(handle);
}

// An info struct filled by function(args..., &info, &error).
template <typename Info, typename Function, typename... Args>
Info fill(Exit exit, Function function, Args... args) {
  Info info{};
  info.struct_size = sizeof info;
  call(exit, function, args..., &info);
  return info;
}

}  // namespace nanochat::cli
