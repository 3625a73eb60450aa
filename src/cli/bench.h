// What the benchmarks share: what they run on, how they measure, what they report.
#pragma once

#include <chrono>
#include <cstdint>
#include <string>
#include <vector>

#include <CLI/CLI.hpp>
#include <nlohmann/json.hpp>

#include "model_choice.h"
#include "owned_handles.h"
#include "token_list.h"

namespace nanochat::cli {

using BenchJson = nlohmann::ordered_json;

struct Bench {
  ModelChoice model;
  std::string synthetic;
  int64_t tokens = 0;                                 // 0: the command's default
  int64_t prompt_tokens = 8;                          // decode, batch
  std::vector<int32_t> sessions{1, 2, 4, 8, 16, 32};  // batch
  int32_t draft_tokens = 0;                           // batch
  int32_t texts = 32;                                 // embed
  int64_t prompt_again = 0;                           // batch
  int32_t repeats = 3;
  bool json = false;
};

struct BenchedModel {
  Runtime runtime;
  Model model;
  nanochat_model_info info{};
};
BenchedModel open_benched(const Bench& bench);

class Stopwatch {
 public:
  double seconds() const { return std::chrono::duration<double>(Clock::now() - start_).count(); }

 private:
  using Clock = std::chrono::steady_clock;
  Clock::time_point start_ = Clock::now();
};

double median(std::vector<double> values);

// Some ids of the vocabulary; which ones makes no difference to the speed.
TokenList some_tokens(int64_t n, int64_t vocab_size, int64_t first = 1);

// What every benchmark reports; speeds and shares are filled in by report().
BenchJson bench_facts(const char* kind, const Bench& bench, const nanochat_runtime* runtime,
                      const nanochat_model_info& info);

struct Speed {
  double tokens_per_second = 0;
  double bytes_per_second = 0;
  double flops_per_second = 0;
};

// What the machine does at best. Measuring it takes memory: last.
struct Ceilings {
  double bytes_per_second = 0;
  double flops_per_second = 0;  // of the instruction that these weights are multiplied with
};
Ceilings measure_ceilings(const nanochat_runtime* runtime, int32_t weights);

void add_speed(BenchJson& facts, const Speed& speed, const Ceilings& ceilings);
void add_ceilings(BenchJson& facts, const Ceilings& ceilings);
uint64_t peak_memory_bytes();  // the most this process ever had resident
void print_facts(const BenchJson& facts, const Bench& bench);

// Adds speeds, peak memory and the machine's own rates, and prints.
void report(BenchJson facts, const Speed& speed, const Bench& bench, const nanochat_runtime* runtime,
            int32_t weights);

// nanochat bench batch, nanochat bench embed
void run_batch(const Bench& bench);
void run_embed(const Bench& bench);

// nanochat bench tokenizer
void add_bench_tokenizer(CLI::App& group);

}  // namespace nanochat::cli
