// The options that say which model runs where, the same for every command, and what they open.
#pragma once

#include <cstdint>
#include <string>

#include <CLI/CLI.hpp>

#include "owned_handles.h"
#include "progress.h"

namespace nanochat::cli {

struct ModelChoice {
  std::string directory;
  std::string tokenizer;  // empty: in the model's directory
  std::string dtype;      // empty: as stored
  std::string kv_dtype;   // empty: f32
  std::string device;     // empty: the build's default
  bool fast = false;      // products in whatever order is fastest
  int32_t threads = 0;    // 0: one per core
  bool verbose = false;   // the library's log, not only its warnings
  bool no_progress = false;

  Show show() const { return no_progress ? Show::nothing : Show::progress; }
};

enum class Tokenized { yes, no };

// --threads
void add_thread_option(CLI::App& command, ModelChoice& choice);
// --threads, --device, --fast
void add_machine_options(CLI::App& command, ModelChoice& choice);
// --model, --dtype, --threads, --device, --fast, --no-progress and, if tokenized, --tokenizer. --model is not
// required here.
CLI::Option* add_model_options(CLI::App& command, ModelChoice& choice, Tokenized tokenized);

// --kv-dtype, for commands that make sessions
void add_kv_option(CLI::App& command, ModelChoice& choice);
int32_t kv_dtype_of(const ModelChoice& choice);  // enum nanochat_kv_values

// --synthetic SHAPE, instead of `model`, the option --model.
void add_synthetic_option(CLI::App& command, std::string& shape, CLI::Option* model);
// One of the two must be given.
void require_model(const ModelChoice& choice, const std::string& synthetic);

// A finite number from low to high; CLI::Range would let "nan" pass.
CLI::Validator within(double low, double high);
// Any uint64_t; CLI11 alone would wrap "-1" around.
CLI::Validator unsigned_number();

Runtime open_runtime(const ModelChoice& choice);
Tokenizer open_tokenizer(const Runtime& runtime, const std::string& path);
Tokenizer open_tokenizer(const Runtime& runtime, const ModelChoice& choice);
Model open_model(const Runtime& runtime, const ModelChoice& choice);
Model make_random_model(const Runtime& runtime, const std::string& shape, const ModelChoice& choice);

// capacity 0: the model's sequence_len
Session make_session(const nanochat_model* model, const ModelChoice& choice, int64_t capacity);
// Writes a model directory, with progress.
void save_model(const nanochat_model* model, const std::string& directory, const ModelChoice& choice);

// enum nanochat_weight_values
int32_t weights_of(const ModelChoice& choice);
const char* dtype_name(int32_t weights);

}  // namespace nanochat::cli
