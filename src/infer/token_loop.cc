#include "infer/token_loop.h"

#include <algorithm>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace nanochat {

namespace {

Error bad_argument(std::string_view option) {
  Error error(Status::invalid_argument);
  error.subject(option);
  return error;
}

void require_in_vocabulary(int32_t token, size_t index, const char* what, int64_t vocab_size) {
  if (token >= 0 && token < vocab_size) return;
  throw Error(Status::out_of_range)
      .subject(what)
      .say("{} {}: token {}, but the vocabulary has {}", what, index, token, vocab_size);
}

void check_options(const GenerationOptions& options, int64_t vocab_size, int64_t capacity,
                   const Tokenizer* tokenizer) {
  if (options.max_tokens < 0) {
    throw bad_argument("max_tokens").say("max_tokens {}, expected at least 0", options.max_tokens);
  }
  if (options.overflow != Overflow::stop && options.overflow != Overflow::slide) {
    throw bad_argument("overflow")
        .say("overflow {}, expected 0 or 1", static_cast<int32_t>(options.overflow));
  }
  if (options.overflow == Overflow::slide && (options.n_keep < 1 || options.n_keep >= capacity)) {
    throw bad_argument("n_keep").say(
        "n_keep {}, expected 1 or more and less than the session's capacity of {}", options.n_keep, capacity);
  }
  if (options.tools != Tools::none && options.tools != Tools::calculator) {
    throw bad_argument("tools").say("tools {}, expected a combination of 1 (calculator)",
                                    static_cast<uint32_t>(options.tools));
  }
  if (tokenizer == nullptr && options.tools != Tools::none) {
    throw bad_argument("tools").say("tools need a tokenizer, got none");
  }
  if (tokenizer == nullptr && !options.stop_strings.empty()) {
    throw bad_argument("stop_strings")
        .say("{} stop strings need a tokenizer, got none", options.stop_strings.size());
  }
  for (size_t i = 0; i < options.stop_tokens.size(); ++i) {
    require_in_vocabulary(options.stop_tokens[i], i, "stop_tokens", vocab_size);
  }
  for (size_t i = 0; i < options.sampler.logit_bias.size(); ++i) {
    require_in_vocabulary(options.sampler.logit_bias[i].first, i, "logit_bias", vocab_size);
  }
}

GenerationOptions with_defaults(GenerationOptions options) {
  if (options.n_keep == 0) options.n_keep = 1;
  return options;
}

// An empty session starts with the bos token, as the model was trained.
int32_t first_token(const ModelConfig& config, const Tokenizer* tokenizer) {
  if (config.bos_token >= 0) return config.bos_token;
  if (tokenizer != nullptr && tokenizer->bos() >= 0) return tokenizer->bos();
  throw bad_argument("prompt").say(
      "no prompt for an empty session, and no bos token to start with: the model's configuration names none "
      "and {}",
      tokenizer == nullptr ? "there is no tokenizer" : "the tokenizer has none");
}

// The model's own end tokens. nanochat's engine ends a reply on either of two.
std::vector<int32_t> end_tokens(const ModelConfig& config, const Tokenizer* tokenizer) {
  std::vector<int32_t> ends = config.eos_tokens;
  if (tokenizer == nullptr) return ends;
  const TokenId assistant_end = tokenizer->special_id("<|assistant_end|>");
  const TokenId bos = tokenizer->special_id("<|bos|>");
  if (assistant_end >= 0 && bos >= 0) ends.insert(ends.end(), {assistant_end, bos});
  return ends;
}

bool has_text(const std::vector<int32_t>& tokens, const Tokenizer& tokenizer) {
  return std::any_of(tokens.begin(), tokens.end(),
                     [&](int32_t token) { return !tokenizer.is_special(token); });
}

}  // namespace

TokenLoop::TokenLoop(const ModelConfig& config, int64_t capacity, std::span<const int32_t> held,
                     std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> prompt,
                     GenerationOptions options, Device* device)
    : capacity_(capacity), options_(with_defaults(std::move(options))), sampler_(options_.sampler, device) {
  check_options(options_, config.vocab_size, capacity, tokenizer.get());
  for (size_t i = 0; i < prompt.size(); ++i) {
    require_in_vocabulary(prompt[i], i, "prompt", config.vocab_size);
  }
  if (held.empty() && prompt.empty()) prompt.push_back(first_token(config, tokenizer.get()));
  n_evaluated_ = std::ssize(held);
  n_prompt_ = std::ssize(prompt);
  first_position_ = n_evaluated_ + n_prompt_;
  if (options_.overflow == Overflow::stop && first_position_ > capacity) {
    throw Error(Status::context_full)
        .subject("prompt")
        .say("the session holds {} tokens and the prompt has {}, but its capacity is {}", n_evaluated_,
             n_prompt_, capacity)
        .hint("shorten the prompt, make a larger session, or let it slide");
  }

  if (options_.end_tokens == EndTokens::stop) ends_ = end_tokens(config, tokenizer.get());
  ends_.insert(ends_.end(), options_.stop_tokens.begin(), options_.stop_tokens.end());
  tokens_.reserve(static_cast<size_t>(std::max(first_position_, n_most()) + 1));
  tokens_.assign(held.begin(), held.end());
  tokens_.insert(tokens_.end(), prompt.begin(), prompt.end());
  if (tokenizer) {
    text_.emplace(tokenizer, options_.stop_strings,
                  has_text(tokens_, *tokenizer) ? TextStart::earlier : TextStart::here);
  }
  if (options_.tools == Tools::calculator) calculator_.emplace(tokenizer);
}

int64_t TokenLoop::n_most() const {
  if (options_.max_tokens == 0 || options_.max_tokens > capacity_) return capacity_;
  return std::min(capacity_, first_position_ + options_.max_tokens - 1);
}

int64_t TokenLoop::n_fixed() const {
  const bool ends_in_time = options_.max_tokens > 0 && options_.max_tokens <= capacity_ &&
                            first_position_ + options_.max_tokens - 1 <= capacity_;
  return options_.overflow == Overflow::stop || ends_in_time ? capacity_ : options_.n_keep;
}

GenerationEvent TokenLoop::accept(std::span<const float> logits) {
  return take([&](uint64_t position) { return sampler_.sample(logits, tokens_, position); });
}

GenerationEvent TokenLoop::accept_top(const TopLogits& top) {
  return take([&](uint64_t position) { return sampler_.sample(top, position); });
}

// Everything changes in the last lines, which cannot fail.
template <class Sample>
GenerationEvent TokenLoop::take(Sample sample) {
  std::optional<CalculatorTool> calculator = calculator_;
  GenerationEvent event;
  if (calculator && calculator->has_forced()) {
    event.token = calculator->take_forced();
    event.forced = true;
  } else {
    SampledToken sampled = sample(static_cast<uint64_t>(first_position_ + n_generated_));
    event.token = sampled.token;
    event.logprob = sampled.logprob;
    event.top = std::move(sampled.top);
  }
  event.index = n_generated_;
  event.finish = finish_without_text(event.token);
  if (calculator) calculator->push(event.token);

  std::optional<TextStream> text = text_;
  if (text) {
    if (event.finish != Finish::stop) event.text = text->push(event.token);
    if (event.finish != Finish::none && !text->stopped()) event.text += text->finish();
    if (event.finish != Finish::stop && text->stopped()) event.finish = Finish::string;
  }
  tokens_.push_back(event.token);
  calculator_.swap(calculator);
  text_.swap(text);
  last_.index = event.index;
  last_.finish = event.finish;
  ++n_generated_;
  return event;
}

void TokenLoop::make_room() {
  if (n_tokens() <= capacity_) return;
  if (options_.overflow == Overflow::stop) throw_internal("a generation went past its session's capacity");
  const int64_t n_drop = n_tokens() - options_.n_keep - newest_to_keep();
  const auto dropped = tokens_.begin() + options_.n_keep;
  tokens_.erase(dropped, dropped + n_drop);
  n_evaluated_ = std::min(n_evaluated_, options_.n_keep);
}

// While decoding: the newer half of what follows the first n_keep. Of a prompt: all that fits beside the
// tokens still to come, at least the newer half.
int64_t TokenLoop::newest_to_keep() const {
  const int64_t n_free = capacity_ - options_.n_keep;
  if (n_generated_ > 0) {
    const int64_t n_rest = n_evaluated_ - options_.n_keep;
    return std::min(std::max<int64_t>(n_rest, 0) / 2 + std::ssize(pending()), n_free);
  }
  const int64_t n_room = options_.max_tokens > 0 ? std::min(options_.max_tokens, n_free / 2) : n_free / 2;
  return n_free - n_room;
}

bool TokenLoop::is_end(int32_t token) const {
  return std::find(ends_.begin(), ends_.end(), token) != ends_.end();
}

Finish TokenLoop::finish_without_text(int32_t token) const {
  if (is_end(token)) return Finish::stop;
  if (options_.max_tokens > 0 && n_generated_ + 1 >= options_.max_tokens) return Finish::length;
  if (options_.overflow == Overflow::stop && n_tokens() + 1 > capacity_) return Finish::context;
  return Finish::none;
}

}  // namespace nanochat
