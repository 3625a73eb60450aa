#include "infer/session.h"

#include <optional>

#include "capi/arguments.h"
#include "capi/guard.h"
#include "capi/model_kind.h"

using namespace nanochat;

namespace {

constexpr size_t kSessionOptionsSize = 16;

nanochat_session_options import(const nanochat_session_options* options) {
  const auto known = import_options(options, "nanochat_session_options", kSessionOptionsSize);
  if (known.capacity < 0) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_session_options.capacity")
        .say("capacity is {}, expected 0 or more", known.capacity);
  }
  require_enum(known.kv_dtype, NANOCHAT_KV_INT8, "nanochat_session_options.kv_dtype");
  require_zero(known.reserved, "nanochat_session_options.reserved");
  return known;
}

std::optional<DType> kv_dtype_of(const nanochat_session_options& known) {
  if (known.kv_dtype == NANOCHAT_KV_DEFAULT) return std::nullopt;
  return import_kv_dtype(known.kv_dtype, "nanochat_session_options.kv_dtype");
}

size_t logit_count(const Model& model, size_t n_tokens, int32_t which) {
  const auto vocab = static_cast<size_t>(model.config().vocab_size);
  if (which == NANOCHAT_LOGITS_NONE) return 0;
  return which == NANOCHAT_LOGITS_LAST ? vocab : vocab * n_tokens;
}

}  // namespace

extern "C" {

void nanochat_session_options_init(nanochat_session_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_session_create(const nanochat_model* model, const nanochat_session_options* options,
                                        nanochat_session** out_session, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_session, "out_session");
    const nanochat_session_options known = import(options);
    auto session = std::make_shared<Session>(require_decoder(parent, "nanochat_session_create()"),
                                             known.capacity, kv_dtype_of(known).value_or(DType::f32));
    *out_session = new nanochat_session{parent.core, std::move(session)};
  });
}

void nanochat_session_free(nanochat_session* session) { delete session; }

nanochat_status nanochat_session_copy(const nanochat_session* session, nanochat_session** out_session,
                                      nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_session& source = require_handle(session, "session");
    require_pointer(out_session, "out_session");
    *out_session = new nanochat_session{source.core, source.session->copy()};
  });
}

int64_t nanochat_session_length(const nanochat_session* session) {
  return session == nullptr ? 0 : session->session->length();
}

int64_t nanochat_session_capacity(const nanochat_session* session) {
  return session == nullptr ? 0 : session->session->capacity();
}

nanochat_status nanochat_session_truncate(nanochat_session* session, int64_t length, nanochat_error** error) {
  return guard(error, [&] { require_handle(session, "session").session->truncate(length); });
}

nanochat_status nanochat_session_eval(nanochat_session* session, const int32_t* tokens, size_t n_tokens,
                                      int32_t which, float* logits, size_t capacity,
                                      const nanochat_cancel* cancel, nanochat_error** error) {
  return guard(error, [&] {
    Session& target = *require_handle(session, "session").session;
    require_pointer(tokens, "tokens");
    if (n_tokens == 0)
      throw Error(Status::invalid_argument).subject("n_tokens").say("n_tokens is 0, expected 1 or more");
    require_enum(which, NANOCHAT_LOGITS_ALL, "which");
    // A count that no session can hold is refused before it is multiplied.
    if (n_tokens > static_cast<size_t>(target.capacity())) {
      throw Error(Status::context_full)
          .subject("session")
          .say("{} tokens do not fit into a session of {} that holds {}", n_tokens, target.capacity(),
               target.length());
    }
    const size_t needed = logit_count(target.model(), n_tokens, which);
    if (needed > 0) require_pointer(logits, "logits");
    if (needed > capacity) {
      throw Error(Status::buffer_too_small)
          .subject("logits")
          .say("logits has room for {} floats, {} are needed", capacity, needed);
    }
    target.append({tokens, n_tokens}, static_cast<LogitRows>(which), logits,
                  make_watch(nullptr, nullptr, cancel));
  });
}

nanochat_status nanochat_session_save(const nanochat_session* session, const char* path,
                                      nanochat_error** error) {
  return guard(error, [&] { require_handle(session, "session").session->save(import_path(path)); });
}

nanochat_status nanochat_session_load(const nanochat_model* model, const char* path,
                                      const nanochat_session_options* options, nanochat_session** out_session,
                                      nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_session, "out_session");
    const nanochat_session_options known = import(options);
    std::shared_ptr<Session> session = Session::load(require_decoder(parent, "nanochat_session_load()"),
                                                     import_path(path), known.capacity, kv_dtype_of(known));
    *out_session = new nanochat_session{parent.core, std::move(session)};
  });
}

}  // extern "C"
