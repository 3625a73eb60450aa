#include "sampling.h"

#include <algorithm>
#include <random>

#include "interrupt.h"
#include "model_choice.h"

namespace nanochat::cli {
namespace {

constexpr int32_t kMaxTokensLimit = 4096;
constexpr int32_t kTopKLimit = 200;

uint64_t fresh_seed() {
  std::random_device device;
  return (static_cast<uint64_t>(device()) << 32) | device();
}

}  // namespace

void add_sampling_options(CLI::App& command, Sampling& sampling) {
  sampling.seed = fresh_seed();
  command
      .add_option("--temperature", sampling.temperature, "0 takes the likeliest token, higher is more varied")
      ->check(within(0, 2))
      ->capture_default_str();
  command.add_option("--top-k", sampling.top_k, "Draw from the k likeliest tokens; 0: off")
      ->check(within(0, kTopKLimit))
      ->capture_default_str();
  command
      .add_option("--top-p", sampling.top_p,
                  "Draw from the likeliest tokens that hold this much probability; 0: off")
      ->check(within(0, 1))
      ->capture_default_str();
  command.add_option("--min-p", sampling.min_p, "Drop tokens below this share of the likeliest one; 0: off")
      ->check(within(0, 1))
      ->capture_default_str();
  command
      .add_option("--repetition-penalty", sampling.repetition_penalty,
                  "Above 1: tokens seen become less likely")
      ->check(within(0.1, 10))
      ->capture_default_str();
  command.add_option("--max-tokens", sampling.max_tokens, "Tokens to generate at most")
      ->check(within(1, kMaxTokensLimit))
      ->capture_default_str();
  command.add_option("--seed", sampling.seed, "Same seed, same text; a new one for every run if not given")
      ->check(unsigned_number());
  command.add_option("--stop", sampling.stop, "Stop before this text; may be given several times")
      ->allow_extra_args(false)
      ->type_name("TEXT");
}

GenerationSettings::GenerationSettings(const Sampling& sampling, uint64_t stream) {
  options_.seed = sampling.seed;
  options_.stream = stream;
  options_.max_tokens = sampling.max_tokens;
  options_.cancel = interrupt_switch();
  options_.temperature = static_cast<float>(sampling.temperature);
  options_.top_p = static_cast<float>(sampling.top_p);
  options_.min_p = static_cast<float>(sampling.min_p);
  options_.repetition_penalty = static_cast<float>(sampling.repetition_penalty);
  options_.top_k = sampling.top_k;
  // A text longer than the context goes on without its oldest part.
  options_.overflow = NANOCHAT_OVERFLOW_SLIDE;
  for (const std::string& text : sampling.stop) stop_at(text.c_str());
}

void GenerationSettings::stop_at(const char* text) {
  stop_strings_.push_back(text);
  options_.stop_strings = stop_strings_.data();
  options_.n_stop_strings = stop_strings_.size();
}

void generate(nanochat_generation* generation, Generated& generated, const OnText& on_text) {
  nanochat_generation_event event = NANOCHAT_GENERATION_EVENT_INIT;
  do {
    call(Exit::running, nanochat_generation_next, generation, &event);
    if (event.token >= 0) generated.tokens.push_back(event.token);
    const std::string_view text(event.text, event.text_size);
    generated.text += text;
    on_text(text, generated.tokens.size());
  } while (event.finish == NANOCHAT_FINISH_NONE);
  generated.finish = event.finish;
  generated.info = fill<nanochat_generation_info>(Exit::running, nanochat_generation_describe, generation);
}

TokenList encode(const nanochat_tokenizer* tokenizer, std::string_view text, uint32_t flags) {
  constexpr size_t kFew = 64;  // that are put around a text; hardly any text has more tokens than bytes
  TokenList ids(std::min(nanochat_tokenizer_encode_bound(tokenizer, text.size()), text.size() + kFew));
  size_t n = 0;
  nanochat_error* error = nullptr;
  const nanochat_status status = nanochat_tokenizer_encode(tokenizer, text.data(), text.size(), flags,
                                                           ids.data(), ids.size(), &n, &error);
  if (status == NANOCHAT_STATUS_BUFFER_TOO_SMALL) {
    nanochat_error_free(error);
    ids.resize(n);
    call(Exit::running, nanochat_tokenizer_encode, tokenizer, text.data(), text.size(), flags, ids.data(),
         ids.size(), &n);
  } else {
    check(Exit::running, status, error);
  }
  ids.resize(n);
  return ids;
}

const char* finish_name(int32_t finish) {
  switch (finish) {
    case NANOCHAT_FINISH_STOP:
      return "stop";
    case NANOCHAT_FINISH_STRING:
      return "string";
    case NANOCHAT_FINISH_LENGTH:
      return "length";
    case NANOCHAT_FINISH_CONTEXT:
      return "context";
    default:
      return "none";
  }
}

}  // namespace nanochat::cli
