// A safetensors file with one F32 tensor "logits" [n_rows, n_tokens, vocab_size], written row by row.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "stream.h"

namespace nanochat::cli {

class LogitsFile {
 public:
  LogitsFile(const std::string& path, uint64_t n_rows, uint64_t n_tokens, uint64_t vocab_size);
  void append(std::span<const float> logits);
  void commit() { file_.commit(); }

 private:
  OutputFile file_;
};

}  // namespace nanochat::cli
