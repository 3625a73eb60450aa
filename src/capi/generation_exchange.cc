#include "capi/generation_exchange.h"

#include <utility>

#include "capi/arguments.h"

namespace nanochat {

namespace {

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

}  // namespace

GenerationOptions import_generation(const nanochat_generation_options& known) {
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

nanochat_generation_event show_event(GenerationEvent event, ShownEvent& shown) noexcept {
  shown.event = std::move(event);
  shown.top_tokens.clear();
  shown.top_logprobs.clear();
  for (const auto& [token, logprob] : shown.event.top) {
    shown.top_tokens.push_back(token);
    shown.top_logprobs.push_back(logprob);
  }
  nanochat_generation_event out{};
  out.text = shown.event.text.c_str();
  out.text_size = shown.event.text.size();
  out.top_tokens = shown.top_tokens.data();
  out.top_logprobs = shown.top_logprobs.data();
  out.n_top = shown.top_tokens.size();
  out.index = shown.event.index;
  out.token = shown.event.token;
  out.logprob = shown.event.logprob;
  out.finish = static_cast<int32_t>(shown.event.finish);
  out.forced = shown.event.forced ? 1 : 0;
  return out;
}

}  // namespace nanochat
