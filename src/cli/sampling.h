// The options that say how text is drawn, and the loop that draws it.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <string_view>
#include <vector>

#include <CLI/CLI.hpp>

#include "owned_handles.h"
#include "token_list.h"

namespace nanochat::cli {

struct Sampling {
  double temperature = 0.8;
  double top_p = 0.9;
  double min_p = 0.0;
  double repetition_penalty = 1.0;
  int32_t top_k = 50;
  int64_t max_tokens = 256;
  uint64_t seed = 0;
  std::vector<std::string> stop;
};

// --temperature, --top-k, --top-p, --min-p, --repetition-penalty, --max-tokens, --seed, --stop. Without
// --seed every run draws its own.
void add_sampling_options(CLI::App& command, Sampling& sampling);

// A generation's options; borrows the strings of `sampling` and a list of pointers to them.
class GenerationSettings {
 public:
  GenerationSettings(const Sampling& sampling, uint64_t stream);
  const nanochat_generation_options* get() const { return &options_; }
  // Stops at `text` too, which must outlive this.
  void stop_at(const char* text);

 private:
  std::vector<const char*> stop_strings_;
  nanochat_generation_options options_ = NANOCHAT_GENERATION_OPTIONS_INIT;
};

struct Generated {
  std::string text;
  TokenList tokens;
  int32_t finish = NANOCHAT_FINISH_NONE;
  nanochat_generation_info info{};
};

using OnText = std::function<void(std::string_view text, size_t n_tokens)>;

// Runs to the end and fills `generated` as it goes: after Interrupted it holds what there was.
void generate(nanochat_generation* generation, Generated& generated, const OnText& on_text);

// Plain text as ids, with what the tokenizer's file adds if asked for (NANOCHAT_ENCODE_*).
TokenList encode(const nanochat_tokenizer* tokenizer, std::string_view text, uint32_t flags);

// "stop", "string", "length", "context"
const char* finish_name(int32_t finish);

}  // namespace nanochat::cli
