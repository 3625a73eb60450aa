#include "logits_file.h"

#include <bit>
#include <cstring>

namespace nanochat::cli {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the file is little-endian and written from memory");

constexpr size_t kHeaderAlignment = 8;

std::string header(uint64_t n_rows, uint64_t n_tokens, uint64_t vocab_size) {
  const std::string shape =
      std::to_string(n_rows) + "," + std::to_string(n_tokens) + "," + std::to_string(vocab_size);
  const uint64_t bytes = n_rows * n_tokens * vocab_size * sizeof(float);
  std::string json = R"({"logits":{"dtype":"F32","shape":[)" + shape + R"(],"data_offsets":[0,)" +
                     std::to_string(bytes) + "]}}";
  json.resize((json.size() + kHeaderAlignment - 1) / kHeaderAlignment * kHeaderAlignment, ' ');
  const uint64_t size = json.size();
  std::string prefix(sizeof size, '\0');
  std::memcpy(prefix.data(), &size, sizeof size);
  return prefix + json;
}

}  // namespace

LogitsFile::LogitsFile(const std::string& path, uint64_t n_rows, uint64_t n_tokens, uint64_t vocab_size)
    : file_(path) {
  file_.write(header(n_rows, n_tokens, vocab_size));
}

void LogitsFile::append(std::span<const float> logits) {
  file_.write({reinterpret_cast<const char*>(logits.data()), logits.size_bytes()});
}

}  // namespace nanochat::cli
