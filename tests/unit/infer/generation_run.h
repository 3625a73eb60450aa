// Runs of a generation over scripted logits, and what came out of them.
#pragma once

#include <functional>
#include <memory>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include <gtest/gtest.h>

#include "base/error.h"
#include "infer/generation_loop.h"
#include "unit/infer/scripted_source.h"

// Options are named; those that are not keep their defaults.
#pragma GCC diagnostic ignored "-Wmissing-field-initializers"

namespace nanochat::testing {

constexpr int64_t kVocab = 265;  // the bytes and nanochat's special tokens
constexpr int32_t kBos = 256, kAssistantEnd = 260, kPythonStart = 261, kPythonEnd = 262, kOutputStart = 263,
                  kOutputEnd = 264;

inline std::vector<int32_t> ids(std::string_view text) {
  std::vector<int32_t> result;
  for (const char c : text) result.push_back(static_cast<uint8_t>(c));
  return result;
}

inline std::shared_ptr<ScriptedSource> source_saying(const std::vector<int32_t>& script,
                                                     int64_t capacity = 1000, size_t n_prompt = 1) {
  return std::make_shared<ScriptedSource>(kVocab, capacity, say(script, kVocab, n_prompt));
}

// Logits that depend on every token and on nothing else.
inline Logits from_tokens(const std::vector<int32_t>& tokens) {
  std::seed_seq seed(tokens.begin(), tokens.end());
  std::mt19937 random(seed);
  Logits logits(kVocab);
  for (float& logit : logits) logit = static_cast<float>(random() % 10000) / 1000.0F;
  return logits;
}

struct Output {
  std::vector<int32_t> tokens;
  std::vector<bool> forced;
  std::string text;
  Finish finish = Finish::none;
  bool operator==(const Output&) const = default;
};

inline void add(const GenerationEvent& event, Output& run) {
  EXPECT_EQ(event.index, static_cast<int64_t>(run.tokens.size()));
  run.tokens.push_back(event.token);
  run.forced.push_back(event.forced);
  run.text += event.text;
  run.finish = event.finish;
}

inline Output run_to_end(GenerationLoop& loop, size_t limit = 2000) {
  Output run;
  while (run.finish == Finish::none && run.tokens.size() < limit) add(loop.next({}), run);
  return run;
}

inline Output run_to_end(const std::shared_ptr<LogitSource>& source, const GenerationOptions& options,
                         const std::vector<int32_t>& prompt = {kBos}, size_t limit = 2000) {
  GenerationLoop loop(source, byte_tokenizer(), prompt, options);
  return run_to_end(loop, limit);
}

inline void expect_refusal(Status status, std::string_view part, const std::function<void()>& call) {
  try {
    call();
    FAIL() << "no error, expected one about " << part;
  } catch (const Error& error) {
    EXPECT_EQ(error.status(), status) << error.message();
    EXPECT_NE(error.message().find(part), std::string::npos) << error.message();
  }
}

}  // namespace nanochat::testing
