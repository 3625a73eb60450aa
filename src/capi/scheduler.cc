// Many generations at once, and the requests that they are.
#include <cmath>
#include <utility>

#include "capi/arguments.h"
#include "capi/generation_exchange.h"
#include "capi/guard.h"
#include "capi/model_kind.h"
#include "infer/batch_scheduler.h"

using namespace nanochat;

namespace {

constexpr size_t kSchedulerOptionsSize = 64;
constexpr size_t kRequestOptionsSize = 32;
constexpr size_t kRequestInfoSize = 88;
constexpr size_t kSchedulerInfoSize = 128;
constexpr int64_t kMostRunning = 4096, kMostWaiting = 1 << 20, kMostDrafts = 64, kMostNgram = 64;
constexpr int64_t kMostPrefillRows = 1 << 20, kMostUnread = int64_t{1} << 40;

// 0 keeps what is there.
template <class T, class U>
void import_count(U value, int64_t most, const char* name, T& target) {
  require_enum(value, most, name);
  if (value != 0) target = static_cast<T>(value);
}

BatchSchedulerOptions import_scheduler(const nanochat_scheduler_options* options) {
  const auto known = import_options(options, "nanochat_scheduler_options", kSchedulerOptionsSize);
  BatchSchedulerOptions imported;
  BatchEngineOptions& engine = imported.engine;
  engine.kv_budget_bytes = known.kv_budget_bytes;
  if (known.prefix_cache_bytes == NANOCHAT_NO_PREFIX_CACHE) {
    imported.prefix_cache_bytes = 0;
  } else if (known.prefix_cache_bytes > 0) {
    imported.prefix_cache_bytes = known.prefix_cache_bytes;
  }
  import_count(known.prefill_rows, kMostPrefillRows, "nanochat_scheduler_options.prefill_rows",
               engine.prefill_rows);
  import_count(known.max_unread_events, kMostUnread, "nanochat_scheduler_options.max_unread_events",
               imported.max_unread);
  import_count(known.max_running, kMostRunning, "nanochat_scheduler_options.max_running",
               imported.max_running);
  import_count(known.max_waiting, kMostWaiting, "nanochat_scheduler_options.max_waiting",
               imported.max_waiting);
  import_count(known.draft_tokens, kMostDrafts, "nanochat_scheduler_options.draft_tokens",
               engine.draft_tokens);
  import_count(known.draft_ngram, kMostNgram, "nanochat_scheduler_options.draft_ngram", engine.draft_ngram);
  engine.kv_dtype = import_kv_dtype(known.kv_dtype, "nanochat_scheduler_options.kv_dtype");
  require_zero(known.reserved, "nanochat_scheduler_options.reserved");
  return imported;
}

BatchRequestOptions import_request(const nanochat_request_options& known) {
  if (!(known.deadline_seconds >= 0)) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_request_options.deadline_seconds")
        .say("deadline_seconds is {}, expected 0 or more", known.deadline_seconds);
  }
  if (known.capacity < 0) {
    throw Error(Status::invalid_argument)
        .subject("nanochat_request_options.capacity")
        .say("capacity is {}, expected 0 or more", known.capacity);
  }
  BatchRequestOptions options;
  options.deadline_seconds = known.deadline_seconds;
  options.capacity = known.capacity;
  return options;
}

nanochat_request* submit(const nanochat_scheduler& scheduler, std::vector<int32_t> prompt,
                         const nanochat_generation_options* generation,
                         const nanochat_request_options* options) {
  const auto known = import_options(generation, "nanochat_generation_options", kGenerationOptionsSize);
  const auto wanted = import_options(options, "nanochat_request_options", kRequestOptionsSize);
  auto handle = std::make_unique<nanochat_request>();
  BatchRequestOptions request = import_request(wanted);
  if (known.cancel != nullptr) request.cancel = &known.cancel->token;
  request.owner = handle.get();
  handle->core = scheduler.core;
  handle->scheduler = scheduler.scheduler;
  handle->tag = wanted.tag;
  // All of the handle is there before another thread can get it from nanochat_scheduler_next().
  handle->request = scheduler.scheduler->make_request(scheduler.tokenizer, std::move(prompt),
                                                      import_generation(known), request);
  scheduler.scheduler->submit(handle->request);
  return handle.release();
}

}  // namespace

extern "C" {

void nanochat_scheduler_options_init(nanochat_scheduler_options* options, size_t size) {
  init_options(options, size);
}

void nanochat_request_options_init(nanochat_request_options* options, size_t size) {
  init_options(options, size);
}

nanochat_status nanochat_scheduler_create(const nanochat_model* model, const nanochat_tokenizer* tokenizer,
                                          const nanochat_scheduler_options* options,
                                          nanochat_scheduler** out_scheduler, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_model& parent = require_handle(model, "model");
    require_pointer(out_scheduler, "out_scheduler");
    auto handle = std::make_unique<nanochat_scheduler>();
    handle->core = parent.core;
    if (tokenizer != nullptr) handle->tokenizer = require_handle(tokenizer, "tokenizer").tokenizer;
    handle->scheduler = std::make_shared<BatchScheduler>(
        require_decoder(parent, "nanochat_scheduler_create()"), import_scheduler(options));
    *out_scheduler = handle.release();
  });
}

void nanochat_scheduler_free(nanochat_scheduler* scheduler) { delete scheduler; }

nanochat_status nanochat_scheduler_submit(const nanochat_scheduler* scheduler, const int32_t* prompt,
                                          size_t n_prompt, const nanochat_generation_options* generation,
                                          const nanochat_request_options* options,
                                          nanochat_request** out_request, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_scheduler& parent = require_handle(scheduler, "scheduler");
    require_pointer(out_request, "out_request");
    *out_request = submit(parent, import_array(prompt, n_prompt, "prompt"), generation, options);
  });
}

nanochat_status nanochat_scheduler_submit_text(const nanochat_scheduler* scheduler, const char* prompt,
                                               size_t prompt_size,
                                               const nanochat_generation_options* generation,
                                               const nanochat_request_options* options,
                                               nanochat_request** out_request, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_scheduler& parent = require_handle(scheduler, "scheduler");
    require_pointer(out_request, "out_request");
    if (!parent.tokenizer) {
      throw Error(Status::invalid_argument)
          .subject("scheduler")
          .say("the scheduler was made without a tokenizer, so it takes no text");
    }
    EncodeOptions encode;
    encode.add = AddSpecials::yes;
    *out_request =
        submit(parent, parent.tokenizer->encode(import_text(prompt, prompt_size, "prompt"), encode),
               generation, options);
  });
}

// A child of fork() has a copy of a mutex that nobody may ever unlock: there the request is only dropped.
void nanochat_request_free(nanochat_request* request) {
  if (request == nullptr) return;
  if (getpid() == request->core->pid) request->scheduler->forget(*request->request);
  delete request;
}

nanochat_status nanochat_request_next(nanochat_request* request, nanochat_generation_event* event,
                                      nanochat_error** error) {
  return guard(error, [&] {
    nanochat_request& handle = require_handle(request, "request");
    require_info(event, "nanochat_generation_event", kEventSize);
    export_info(show_event(handle.scheduler->next(*handle.request), handle.shown), event);
  });
}

nanochat_status nanochat_scheduler_next(const nanochat_scheduler* scheduler, double wait_seconds,
                                        nanochat_request** request, nanochat_generation_event* event,
                                        nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_scheduler& parent = require_handle(scheduler, "scheduler");
    require_pointer(request, "request");
    require_info(event, "nanochat_generation_event", kEventSize);
    if (std::isnan(wait_seconds)) {
      throw Error(Status::invalid_argument).subject("wait_seconds").say("wait_seconds is not a number");
    }
    BatchRequest* returned = nullptr;
    if (nanochat_request* held = std::exchange(*request, nullptr); held != nullptr) {
      returned = held->request.get();
    }
    GenerationEvent next;
    BatchRequest* found = parent.scheduler->next_of_any(returned, wait_seconds, next);
    if (found == nullptr) return;
    auto* owner = static_cast<nanochat_request*>(found->owner());
    export_info(show_event(std::move(next), owner->shown), event);
    *request = owner;
  });
}

void nanochat_request_cancel(const nanochat_request* request) {
  if (request == nullptr || getpid() != request->core->pid) return;
  request->scheduler->cancel(*request->request);
}

uint64_t nanochat_request_tag(const nanochat_request* request) {
  return request == nullptr ? 0 : request->tag;
}

nanochat_status nanochat_request_result(const nanochat_request* request, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_request& handle = require_handle(request, "request");
    if (const auto failure = handle.scheduler->failure(*handle.request)) throw *failure;
  });
}

nanochat_status nanochat_request_describe(const nanochat_request* request, nanochat_request_info* info,
                                          nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_request& handle = require_handle(request, "request");
    require_info(info, "nanochat_request_info", kRequestInfoSize);
    const BatchRequestUsage usage = handle.scheduler->usage(*handle.request);
    nanochat_request_info filled{};
    filled.tag = handle.tag;
    filled.prompt_tokens = usage.generation.prompt_tokens;
    filled.shared_tokens = usage.n_prompt_reused;
    filled.generated_tokens = usage.generation.generated_tokens;
    filled.drafted_tokens = usage.n_guessed;
    filled.accepted_tokens = usage.n_guessed_right;
    filled.queue_seconds = usage.queue_seconds;
    filled.prompt_seconds = usage.generation.prompt_seconds;
    filled.decode_seconds = usage.generation.decode_seconds;
    filled.finish = static_cast<int32_t>(usage.generation.finish);
    filled.status = static_cast<nanochat_status>(usage.status);
    export_info(filled, info);
  });
}

nanochat_status nanochat_scheduler_describe(const nanochat_scheduler* scheduler,
                                            nanochat_scheduler_info* info, nanochat_error** error) {
  return guard(error, [&] {
    const nanochat_scheduler& handle = require_handle(scheduler, "scheduler");
    require_info(info, "nanochat_scheduler_info", kSchedulerInfoSize);
    const BatchSchedulerUsage usage = handle.scheduler->usage();
    nanochat_scheduler_info filled{};
    filled.waiting_requests = usage.n_waiting;
    filled.running_requests = usage.n_running;
    filled.finished_requests = usage.n_ended;
    filled.failed_requests = usage.n_failed;
    filled.passes = usage.counts.n_passes;
    filled.rows = usage.counts.n_rows;
    filled.prompt_tokens = usage.counts.n_prompt_computed;
    filled.shared_tokens = usage.counts.n_prompt_reused;
    filled.decoded_tokens = usage.counts.n_generated;
    filled.drafted_tokens = usage.counts.n_guessed;
    filled.accepted_tokens = usage.counts.n_guessed_right;
    filled.kv_budget_bytes = usage.kv_budget_bytes;
    filled.kv_promised_bytes = usage.kv_promised_bytes;
    filled.prefix_cache_bytes = usage.prefix_cache_bytes;
    filled.prefix_evictions = usage.n_prefix_evictions;
    export_info(filled, info);
  });
}

}  // extern "C"
