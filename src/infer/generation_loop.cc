#include "infer/generation_loop.h"

#include <algorithm>
#include <chrono>
#include <string_view>
#include <utility>

#include "base/error.h"

namespace nanochat {

namespace {

class AddElapsed {
 public:
  explicit AddElapsed(double& seconds) : seconds_(seconds), start_(Clock::now()) {}
  ~AddElapsed() { seconds_ += std::chrono::duration<double>(Clock::now() - start_).count(); }
  AddElapsed(const AddElapsed&) = delete;
  AddElapsed& operator=(const AddElapsed&) = delete;

 private:
  using Clock = std::chrono::steady_clock;
  double& seconds_;
  Clock::time_point start_;
};

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

void check_options(const GenerationOptions& options, const LogitSource& source, const Tokenizer* tokenizer) {
  const int64_t vocab_size = source.config().vocab_size;
  if (options.max_tokens < 0) {
    throw bad_argument("max_tokens").say("max_tokens {}, expected at least 0", options.max_tokens);
  }
  if (options.overflow != Overflow::stop && options.overflow != Overflow::slide) {
    throw bad_argument("overflow")
        .say("overflow {}, expected 0 or 1", static_cast<int32_t>(options.overflow));
  }
  if (options.overflow == Overflow::slide && (options.n_keep < 1 || options.n_keep >= source.capacity())) {
    throw bad_argument("n_keep").say(
        "n_keep {}, expected 1 or more and less than the session's capacity of {}", options.n_keep,
        source.capacity());
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

GenerationLoop::GenerationLoop(std::shared_ptr<LogitSource> source,
                               std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> prompt,
                               GenerationOptions options)
    : source_(std::move(source)),
      options_(with_defaults(std::move(options))),
      sampler_(options_.sampler),
      pending_(std::move(prompt)) {
  if (!source_) throw bad_argument("session").say("a generation needs a session, got none");
  const ModelConfig& config = source_->config();
  check_options(options_, *source_, tokenizer.get());
  for (size_t i = 0; i < pending_.size(); ++i) {
    require_in_vocabulary(pending_[i], i, "prompt", config.vocab_size);
  }
  if (n_tokens() == 0) pending_.push_back(first_token(config, tokenizer.get()));
  if (options_.overflow == Overflow::stop && n_tokens() > source_->capacity()) {
    throw Error(Status::context_full)
        .subject("prompt")
        .say("the session holds {} tokens and the prompt has {}, but its capacity is {}",
             source_->tokens().size(), pending_.size(), source_->capacity())
        .hint("shorten the prompt, make a larger session, or let it slide");
  }

  if (options_.end_tokens == EndTokens::stop) ends_ = end_tokens(config, tokenizer.get());
  ends_.insert(ends_.end(), options_.stop_tokens.begin(), options_.stop_tokens.end());
  if (tokenizer) {
    const bool earlier = has_text(source_->tokens(), *tokenizer) || has_text(pending_, *tokenizer);
    text_.emplace(tokenizer, options_.stop_strings, earlier ? TextStart::earlier : TextStart::here);
  }
  if (options_.tools == Tools::calculator) calculator_.emplace(tokenizer);
  first_position_ = n_tokens();
  revision_ = source_->revision();
  usage_.prompt_tokens = static_cast<int64_t>(pending_.size());
}

// The source moves forward as far as it gets. All else changes in the last lines, which cannot fail.
GenerationEvent GenerationLoop::next(const Watch& watch) {
  if (last_.finish != Finish::none) return last_;
  const AddElapsed timer(usage_.generated_tokens == 0 ? usage_.prompt_seconds : usage_.decode_seconds);
  watch.check();
  if (source_->revision() != revision_) {
    throw Error(Status::invalid_state)
        .subject("session")
        .say("the session was changed while a generation used it");
  }

  std::optional<CalculatorTool> calculator = calculator_;
  GenerationEvent event;
  if (calculator && calculator->has_forced()) {
    event.token = calculator->take_forced();
    event.forced = true;
  } else {
    event = draw(watch);
  }
  event.index = usage_.generated_tokens;
  event.finish = finish_without_text(event.token);
  if (calculator) calculator->push(event.token);

  std::optional<TextStream> text = text_;
  if (text) {
    if (event.finish != Finish::stop) event.text = text->push(event.token);
    if (event.finish != Finish::none && !text->stopped()) event.text += text->finish();
    if (event.finish != Finish::stop && text->stopped()) event.finish = Finish::string;
  }
  GenerationEvent last;  // what later calls get: how it ended, and nothing twice
  last.index = event.index;
  last.finish = event.finish;
  pending_.reserve(pending_.size() + 1);

  pending_.push_back(event.token);
  calculator_.swap(calculator);
  text_.swap(text);
  std::swap(last_, last);
  ++usage_.generated_tokens;
  usage_.finish = event.finish;
  return event;
}

GenerationEvent GenerationLoop::draw(const Watch& watch) {
  evaluate_pending(watch);
  const auto position = static_cast<uint64_t>(first_position_ + usage_.generated_tokens);
  SampledToken sampled = sampler_.sample(source_->last_logits(), source_->tokens(), position);
  GenerationEvent event;
  event.token = sampled.token;
  event.logprob = sampled.logprob;
  event.top = std::move(sampled.top);
  return event;
}

// In pieces, so that a prompt which was cancelled goes on where it was; the bits do not depend on the cuts.
void GenerationLoop::evaluate_pending(const Watch& watch) {
  make_room();
  while (!pending_.empty()) {
    const size_t n = std::min(pending_.size(), static_cast<size_t>(kForwardRows));
    source_->append({pending_.data(), n}, LogitRows::none, nullptr, watch);
    revision_ = source_->revision();
    pending_.erase(pending_.begin(), pending_.begin() + static_cast<ptrdiff_t>(n));
  }
  if (source_->last_logits().empty()) source_->restore_logits(watch);
  revision_ = source_->revision();
}

// Keeps the first n_keep tokens in place and makes the newest pending again: they move, so they are computed
// again.
void GenerationLoop::make_room() {
  if (n_tokens() <= source_->capacity()) return;
  if (options_.overflow == Overflow::stop) throw_internal("a generation went past its session's capacity");
  const std::vector<int32_t>& held = source_->tokens();
  std::vector<int32_t> all(held);
  all.insert(all.end(), pending_.begin(), pending_.end());
  const int64_t n_held = std::min(static_cast<int64_t>(held.size()), options_.n_keep);
  const int64_t n_drop = n_tokens() - options_.n_keep - newest_to_keep();
  std::vector<int32_t> pending(all.begin() + n_held, all.begin() + options_.n_keep);
  pending.insert(pending.end(), all.begin() + options_.n_keep + n_drop, all.end());

  source_->truncate(n_held);
  pending_.swap(pending);
  revision_ = source_->revision();
}

// While decoding: the newer half of what follows the first n_keep. Of a prompt: all that fits beside the
// tokens still to come, at least the newer half.
int64_t GenerationLoop::newest_to_keep() const {
  const int64_t n_free = source_->capacity() - options_.n_keep;
  if (usage_.generated_tokens > 0) {
    const int64_t n_pending = static_cast<int64_t>(pending_.size());
    const int64_t n_rest = static_cast<int64_t>(source_->tokens().size()) - options_.n_keep;
    return std::min(std::max<int64_t>(n_rest, 0) / 2 + n_pending, n_free);
  }
  const int64_t n_room = options_.max_tokens > 0 ? std::min(options_.max_tokens, n_free / 2) : n_free / 2;
  return n_free - n_room;
}

bool GenerationLoop::is_end(int32_t token) const {
  return std::find(ends_.begin(), ends_.end(), token) != ends_.end();
}

Finish GenerationLoop::finish_without_text(int32_t token) const {
  if (is_end(token)) return Finish::stop;
  if (options_.max_tokens > 0 && usage_.generated_tokens + 1 >= options_.max_tokens) return Finish::length;
  if (options_.overflow == Overflow::stop && n_tokens() + 1 > source_->capacity()) return Finish::context;
  return Finish::none;
}

}  // namespace nanochat
