#include "infer/generation.h"

#include "capi/arguments.h"
#include "capi/guard.h"

using namespace nanochat;

namespace {

constexpr size_t kGenerationOptionsSize = 152;
constexpr size_t kEventSize = 72;
constexpr size_t kGenerationInfoSize = 48;
constexpr int32_t kMostLogprobs = 20;

SamplerOptions import_sampler(const nanochat_generation_options& known) {
  require_enum(known.top_logprobs, kMostLogprobs, "nanochat_generation_options.top_logprobs");
  SamplerOptions sampler;
  sampler.seed = known.seed;
  sampler.stream = known.stream;
  sampler.temperature = known.temperature;
  sampler.top_k = known.top_k;
  if (known.top_p != 0.0F) sampler.top_p = known.top_p;
  sampler.min_p = known.min_p;
  if (known.repetition_penalty != 0.0F) sampler.repetition_penalty = known.repetition_penalty;
  sampler.presence_penalty = known.presence_penalty;
  sampler.frequency_penalty = known.frequency_penalty;
  sampler.top_logprobs = known.top_logprobs;
  const auto tokens = import_array(known.logit_bias_tokens, known.n_logit_bias,
                                   "nanochat_generation_options.logit_bias_tokens");
  const auto values = import_array(known.logit_bias_values, known.n_logit_bias,
                                   "nanochat_generation_options.logit_bias_values");
  for (size_t i = 0; i < tokens.size(); ++i) sampler.logit_bias.emplace_back(tokens[i], values[i]);
  return sampler;
}

GenerationOptions import(const nanochat_generation_options& known) {
  require_enum(known.overflow, NANOCHAT_OVERFLOW_SLIDE, "nanochat_generation_options.overflow");
  require_enum(known.tools, NANOCHAT_TOOL_CALCULATOR, "nanochat_generation_options.tools");
  require_zero(known.reserved, "nanochat_generation_options.reserved");
  GenerationOptions options;
  options.sampler = import_sampler(known);
  options.max_tokens = known.max_tokens;
  options.stop_tokens =
      import_array(known.stop_tokens, known.n_stop_tokens, "nanochat_generation_options.stop_tokens");
  options.stop_strings =
      import_strings(known.stop_strings, known.n_stop_strings, "nanochat_generation_options.stop_strings");
  options.overflow = static_cast<Overflow>(known.overflow);
  if (known.n_keep != 0) options.n_keep = known.n_keep;
  options.end_tokens = known.ignore_end == 0 ? EndTokens::stop : EndTokens::ignore;
  options.tools = static_cast<Tools>(known.tools);
  return options;
}

std::unique_ptr<nanochat_generation> start(nanochat_session& session, const nanochat_tokenizer* tokenizer,
                                           std::vector<int32_t> prompt,
                                           const nanochat_generation_options* options) {
  const auto known = import_options(options, "nanochat_generation_options", kGenerationOptionsSize);
  auto handle = std::make_unique<nanochat_generation>();
  handle->core = session.core;
  handle->watch = make_watch(nullptr, nullptr, known.cancel);
  handle->generation = std::make_unique<Generation>(
      session.session, tokenizer == nullptr ? nullptr : require_handle(tokenizer, "tokenizer").tokenizer,
      std::move(prompt), import(known));
  return handle;
}

nanochat_generation_event next_event(nanochat_generation& handle) {
  handle.event = handle.generation->next(handle.watch);
  const GenerationEvent& event = handle.event;
  handle.top_tokens.clear();
  handle.top_logprobs.clear();
  for (const auto& [token, logprob] : event.top) {
    handle.top_tokens.push_back(token);
    handle.top_logprobs.push_back(logprob);
  }
  nanochat_generation_event out{};
  out.text = event.text.c_str();
  out.text_size = event.text.size();
  out.top_tokens = handle.top_tokens.data();
  out.top_logprobs = handle.top_logprobs.data();
  out.n_top = handle.top_tokens.size();
  out.index = event.index;
  out.token = event.token;
  out.logprob = event.logprob;
  out.finish = static_cast<int32_t>(event.finish);
  out.forced = event.forced ? 1 : 0;
  return out;
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
