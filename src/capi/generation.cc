#include "infer/generation.h"

#include "capi/arguments.h"
#include "capi/generation_exchange.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

constexpr size_t kGenerationInfoSize = 48;

std::unique_ptr<nanochat_generation> start(nanochat_session& session, const nanochat_tokenizer* tokenizer,
                                           std::vector<int32_t> prompt,
                                           const nanochat_generation_options* options) {
  const auto known = import_options(options, "nanochat_generation_options", kGenerationOptionsSize);
  auto handle = std::make_unique<nanochat_generation>();
  handle->core = session.core;
  handle->watch = make_watch(nullptr, nullptr, known.cancel);
  handle->generation = std::make_unique<Generation>(
      session.session, tokenizer == nullptr ? nullptr : require_handle(tokenizer, "tokenizer").tokenizer,
      std::move(prompt), import_generation(known));
  return handle;
}

nanochat_generation_event next_event(nanochat_generation& handle) {
  return show_event(handle.generation->next(handle.watch), handle.shown);
}

}  // namespace

extern "C" {

void nanochat_generation_options_init(nanochat_generation_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_generation_start(nanochat_session* session, const nanochat_tokenizer* tokenizer,
                                          const int32_t* prompt, size_t n_prompt,
                                          const nanochat_generation_options* options,
                                          nanochat_generation** out_generation, nanochat_error** error) {
  return guard(error, [&] {
    nanochat_session& parent = require_handle(session, "session");
    require_pointer(out_generation, "out_generation");
    *out_generation = start(parent, tokenizer, import_array(prompt, n_prompt, "prompt"), options).release();
  });
}

nanochat_status nanochat_generation_start_text(nanochat_session* session, const nanochat_tokenizer* tokenizer,
                                               const char* prompt, size_t prompt_size,
                                               const nanochat_generation_options* options,
                                               nanochat_generation** out_generation, nanochat_error** error) {
  return guard(error, [&] {
    nanochat_session& parent = require_handle(session, "session");
    const Tokenizer& encoder = *require_handle(tokenizer, "tokenizer").tokenizer;
    require_pointer(out_generation, "out_generation");
    EncodeOptions encode;
    if (parent.session->length() == 0) encode.add = AddSpecials::yes;
    std::vector<int32_t> ids = encoder.encode(import_text(prompt, prompt_size, "prompt"), encode);
    *out_generation = start(parent, tokenizer, std::move(ids), options).release();
  });
}

void nanochat_generation_free(nanochat_generation* generation) { delete generation; }

nanochat_status nanochat_generation_next(nanochat_generation* generation, nanochat_generation_event* event,
                                         nanochat_error** error) {
  return guard(error, [&] {
    nanochat_generation& handle = require_handle(generation, "generation");
    require_info(event, "nanochat_generation_event", kEventSize);
    export_info(next_event(handle), event);
  });
}

nanochat_status nanochat_generation_run(nanochat_generation* generation, nanochat_event_callback callback,
                                        void* user_data, nanochat_error** error) {
  return guard(error, [&] {
    nanochat_generation& handle = require_handle(generation, "generation");
    require_pointer(reinterpret_cast<const void*>(callback), "callback");
    while (true) {
      nanochat_generation_event event = next_event(handle);
      event.struct_size = sizeof event;
      if (const int32_t answer = callback(&event, user_data); answer != 0) {
        throw Error(Status::cancelled)
            .subject("callback")
            .say("the event callback stopped the generation with {} after token {}", answer, event.index);
      }
      if (event.finish != NANOCHAT_FINISH_NONE) return;
    }
  });
}

nanochat_status nanochat_generation_describe(const nanochat_generation* generation,
                                             nanochat_generation_info* info, nanochat_error** error) {
  return guard(error, [&] {
    const Generation& described = *require_handle(generation, "generation").generation;
    require_info(info, "nanochat_generation_info", kGenerationInfoSize);
    const GenerationUsage usage = described.usage();
    export_info({0, usage.prompt_tokens, usage.generated_tokens, usage.prompt_seconds, usage.decode_seconds,
                 static_cast<int32_t>(usage.finish), 0},
                info);
  });
}

}  // extern "C"
