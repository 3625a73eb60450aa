#include "vector_output.h"

#include <bit>
#include <charconv>

#include <nlohmann/json.hpp>

#include "failure.h"

namespace nanochat::cli {
namespace {

static_assert(std::endian::native == std::endian::little,
              "the file is little-endian and written from memory");

using Json = nlohmann::ordered_json;

// The shortest text that reads back as the same float.
std::string number(float value) {
  char text[32];
  return {text, std::to_chars(text, text + sizeof text, value).ptr};
}

std::string number_list(const float* values, size_t n, char separator) {
  std::string text;
  for (size_t i = 0; i < n; ++i) {
    if (i > 0) text += separator;
    text += number(values[i]);
  }
  return text;
}

std::string npy_header(size_t n_rows, size_t width) {
  constexpr size_t kAlignment = 64, kPrefix = 10;
  std::string header = "{'descr': '<f4', 'fortran_order': False, 'shape': (" + std::to_string(n_rows) + ", " +
                       std::to_string(width) + "), }";
  while ((kPrefix + header.size() + 1) % kAlignment != 0) header += ' ';
  header += '\n';
  std::string start("\x93NUMPY\x01\x00", 8);
  start += static_cast<char>(header.size() & 0xff);
  start += static_cast<char>(header.size() >> 8);
  return start + header;
}

}  // namespace

VectorOutput::VectorOutput(const std::string& path, VectorForm form, std::vector<std::string> names)
    : file_(path), form_(form), names_(std::move(names)) {}

void VectorOutput::append(const nanochat_embeddings* embeddings) {
  width_ = nanochat_embeddings_width(embeddings);
  for (size_t i = 0; i < nanochat_embeddings_count(embeddings); ++i) {
    if (form_ == VectorForm::json) {
      append_json(embeddings, i);
    } else {
      append_rows(embeddings, i);
    }
    ++n_inputs_;
  }
}

void VectorOutput::append_rows(const nanochat_embeddings* embeddings, size_t input) {
  const size_t n_rows = nanochat_embeddings_rows(embeddings, input);
  const float* values = nanochat_embeddings_values(embeddings, input);
  n_rows_ += n_rows;
  if (form_ == VectorForm::npy) {
    values_.append(reinterpret_cast<const char*>(values), n_rows * width_ * sizeof(float));
    return;
  }
  std::string text;
  const int32_t* tokens = nullptr;
  const float* weights = nullptr;
  const size_t n_words = nanochat_embeddings_sparse(embeddings, input, &tokens, &weights);
  for (size_t i = 0; i < n_words; ++i)
    text += (i > 0 ? " " : "") + std::to_string(tokens[i]) + ":" + number(weights[i]);
  for (size_t row = 0; row < n_rows; ++row)
    text += (row > 0 ? "\n" : "") + number_list(values + row * width_, width_, ' ');
  file_.write(text + "\n");
}

void VectorOutput::append_json(const nanochat_embeddings* embeddings, size_t input) {
  const Json name = names_.empty() ? Json(n_inputs_) : Json(names_[n_inputs_]);
  std::string text = R"({"input":)" + name.dump(-1, ' ', false, Json::error_handler_t::replace) +
                     R"(,"tokens":)" + std::to_string(nanochat_embeddings_tokens(embeddings, input));
  const int32_t* words = nullptr;
  const float* weights = nullptr;
  const size_t n_rows = nanochat_embeddings_rows(embeddings, input);
  const float* values = nanochat_embeddings_values(embeddings, input);
  if (n_rows == 0) {
    const size_t n = nanochat_embeddings_sparse(embeddings, input, &words, &weights);
    text += R"(,"words":[)";
    for (size_t i = 0; i < n; ++i) text += (i > 0 ? "," : "") + std::to_string(words[i]);
    text += R"(],"weights":[)" + number_list(weights, n, ',') + "]}\n";
  } else {
    text += R"(,"vectors":[)";
    for (size_t row = 0; row < n_rows; ++row)
      text += (row > 0 ? ",[" : "[") + number_list(values + row * width_, width_, ',') + "]";
    text += "]}\n";
  }
  file_.write(text);
}

void VectorOutput::commit() {
  if (form_ == VectorForm::npy) {
    file_.write(npy_header(n_rows_, width_));
    file_.write(values_);
  }
  file_.commit();
}

}  // namespace nanochat::cli
