// Tokens and text from a session, one pull at a time.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

#include "base/cancel.h"
#include "infer/sampler.h"
#include "infer/session.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

enum class Overflow : int32_t { stop = 0, slide = 1 };
enum class Finish : int32_t { none = 0, stop = 1, string = 2, length = 3, context = 4, error = 5 };
enum class EndTokens : int32_t { stop = 0, ignore = 1 };
enum class Tools : uint32_t { none = 0, calculator = 1 };

struct GenerationOptions {
  SamplerOptions sampler;
  int64_t max_tokens = 0;  // 0: until the session is full
  std::vector<int32_t> stop_tokens;
  std::vector<std::string> stop_strings;
  Overflow overflow = Overflow::stop;
  int64_t n_keep = 1;  // 0: 1
  EndTokens end_tokens = EndTokens::stop;
  Tools tools = Tools::none;
};

struct GenerationEvent {
  int32_t token = -1;    // -1: none
  float logprob = 0.0F;  // 0 and no `top` if forced: nothing was computed for it
  int64_t index = 0;
  bool forced = false;
  Finish finish = Finish::none;
  std::string text;  // whole UTF-8 sequences; held back while it may begin a stop string
  std::vector<std::pair<int32_t, float>> top;
};

struct GenerationUsage {
  int64_t prompt_tokens = 0, generated_tokens = 0;
  double prompt_seconds = 0.0, decode_seconds = 0.0;
  Finish finish = Finish::none;
};

// One thread at a time; so is its session, which nobody else may change before the last event.
//
// A token is evaluated by the pull after its own: the last one costs no forward pass and is not in the
// session afterwards. With Overflow::stop the session's last place is used, and the token sampled there ends
// with Finish::context. Of reasons that meet at one token the first of stop, string, length, context is
// reported.
class Generation {
 public:
  // tokenizer: may be null (tokens only). Statuses as nanochat_generation_start() documents. Computes
  // nothing.
  Generation(std::shared_ptr<Session> session, std::shared_ptr<const Tokenizer> tokenizer,
             std::vector<int32_t> prompt, GenerationOptions options);
  ~Generation();

  // The next token; the last event has finish != none and is repeated without text afterwards. A cancelled
  // call changes nothing that the next call would not do again.
  GenerationEvent next(const Watch& watch);
  GenerationUsage usage() const;

 private:
  struct State;
  std::unique_ptr<State> state_;
};

}  // namespace nanochat
