#include "infer/generation_loop.h"

#include <algorithm>
#include <chrono>
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

TokenLoop make_loop(const LogitSource* source, std::shared_ptr<const Tokenizer> tokenizer,
                    std::vector<int32_t> prompt, GenerationOptions options) {
  if (source == nullptr) {
    throw Error(Status::invalid_argument).subject("session").say("a generation needs a session, got none");
  }
  return {source->config(),  source->capacity(), source->tokens(), std::move(tokenizer),
          std::move(prompt), std::move(options), source->device()};
}

}  // namespace

GenerationLoop::GenerationLoop(std::shared_ptr<LogitSource> source,
                               std::shared_ptr<const Tokenizer> tokenizer, std::vector<int32_t> prompt,
                               GenerationOptions options)
    : source_(std::move(source)),
      loop_(make_loop(source_.get(), std::move(tokenizer), std::move(prompt), std::move(options))),
      revision_(source_->revision()) {}

// The source moves forward as far as it gets; accept() is all or nothing.
GenerationEvent GenerationLoop::next(const Watch& watch) {
  if (loop_.ended()) return loop_.last();
  const AddElapsed timer(loop_.n_generated() == 0 ? prompt_seconds_ : decode_seconds_);
  watch.check();
  if (source_->revision() != revision_) {
    throw Error(Status::invalid_state)
        .subject("session")
        .say("the session was changed while a generation used it");
  }
  if (!loop_.needs_logits()) return loop_.accept({});
  evaluate_pending(watch);
  if (knows_top()) return loop_.accept_top(*source_->last_top());
  return loop_.accept(source_->last_logits());
}

bool GenerationLoop::knows_top() const {
  const TopLogits* top = source_->last_top();
  return top != nullptr && loop_.sampler().can_sample(*top);
}

// In pieces, so that a prompt which was cancelled goes on where it was; the bits do not depend on the cuts.
void GenerationLoop::evaluate_pending(const Watch& watch) {
  loop_.make_room();
  source_->truncate(loop_.n_evaluated());
  revision_ = source_->revision();
  while (!loop_.pending().empty()) {
    const auto pending = loop_.pending();
    const auto piece = pending.first(std::min(pending.size(), static_cast<size_t>(kForwardRows)));
    source_->append_for(loop_.sampler(), piece, watch);
    loop_.evaluated(std::ssize(piece));
    revision_ = source_->revision();
  }
  if (source_->last_logits().empty() && !knows_top()) source_->restore_logits(watch);
  revision_ = source_->revision();
}

GenerationUsage GenerationLoop::usage() const {
  return {loop_.n_prompt(), loop_.n_generated(), prompt_seconds_, decode_seconds_, loop_.last().finish};
}

}  // namespace nanochat
