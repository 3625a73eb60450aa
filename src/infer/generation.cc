#include "infer/generation.h"

#include <utility>

#include "infer/generation_loop.h"

namespace nanochat {

struct Generation::State {
  GenerationLoop loop;
};

Generation::Generation(std::shared_ptr<Session> session, std::shared_ptr<const Tokenizer> tokenizer,
                       std::vector<int32_t> prompt, GenerationOptions options)
    : state_(std::make_unique<State>(State{GenerationLoop(std::move(session), std::move(tokenizer),
                                                          std::move(prompt), std::move(options))})) {}

Generation::~Generation() = default;

GenerationEvent Generation::next(const Watch& watch) { return state_->loop.next(watch); }

GenerationUsage Generation::usage() const { return state_->loop.usage(); }

}  // namespace nanochat
