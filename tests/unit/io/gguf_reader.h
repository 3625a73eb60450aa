// Reads a GGUF file the plain way, for tests: every number where the format says it is, nothing taken from
// the writer's code.
#pragma once

#include <cstdint>
#include <cstring>
#include <map>
#include <stdexcept>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat::testing {

struct ReadGguf {
  struct Value {
    uint32_t type = 0;  // of the elements, for an array
    bool is_array = false;
    std::vector<double> numbers;
    std::vector<std::string> texts;
    double number() const { return numbers.at(0); }
    const std::string& text() const { return texts.at(0); }
  };
  struct Tensor {
    std::string name;
    std::vector<uint64_t> dimensions;  // the fastest first
    uint32_t type = 0;                 // 0: F32, 1: F16, 30: BF16
    uint64_t offset = 0;               // from data_start
    uint64_t n_elements() const {
      uint64_t n = 1;
      for (const uint64_t dimension : dimensions) n *= dimension;
      return n;
    }
    uint64_t n_bytes() const { return n_elements() * (type == 0 ? 4 : 2); }
  };

  std::string bytes;
  uint32_t version = 0;
  std::vector<std::string> keys;  // in order
  std::map<std::string, Value> values;
  std::vector<Tensor> tensors;
  uint64_t data_start = 0;

  const Tensor& tensor(const std::string& name) const {
    for (const Tensor& found : tensors) {
      if (found.name == name) return found;
    }
    throw std::runtime_error("no tensor " + name);
  }
  template <class T>
  std::vector<T> data(const std::string& name) const {
    const Tensor& found = tensor(name);
    if (found.n_bytes() != found.n_elements() * sizeof(T)) throw std::runtime_error("wrong element size");
    std::vector<T> out(found.n_elements());
    std::memcpy(out.data(), bytes.data() + data_start + found.offset, found.n_bytes());
    return out;
  }
};

class GgufReading {
 public:
  explicit GgufReading(std::string bytes) { file_.bytes = std::move(bytes); }

  ReadGguf read() {
    if (take(4) != "GGUF") throw std::runtime_error("no GGUF");
    file_.version = number<uint32_t>();
    const auto n_tensors = number<uint64_t>();
    const auto n_values = number<uint64_t>();
    for (uint64_t i = 0; i < n_values; ++i) {
      file_.keys.push_back(text());
      const auto type = number<uint32_t>();
      ReadGguf::Value value;
      if (type == 9) {
        value.is_array = true;
        value.type = number<uint32_t>();
        const auto n = number<uint64_t>();
        for (uint64_t k = 0; k < n; ++k) element(value);
      } else {
        value.type = type;
        element(value);
      }
      file_.values[file_.keys.back()] = std::move(value);
    }
    for (uint64_t i = 0; i < n_tensors; ++i) {
      ReadGguf::Tensor tensor;
      tensor.name = text();
      const auto rank = number<uint32_t>();
      for (uint32_t d = 0; d < rank; ++d) tensor.dimensions.push_back(number<uint64_t>());
      tensor.type = number<uint32_t>();
      tensor.offset = number<uint64_t>();
      file_.tensors.push_back(std::move(tensor));
    }
    file_.data_start = (at_ + 31) / 32 * 32;
    return std::move(file_);
  }

 private:
  std::string_view take(uint64_t n) {
    if (n > file_.bytes.size() - at_) throw std::runtime_error("cut short");
    at_ += n;
    return std::string_view(file_.bytes).substr(at_ - n, n);
  }
  template <class T>
  T number() {
    T value;
    std::memcpy(&value, take(sizeof value).data(), sizeof value);
    return value;
  }
  std::string text() { return std::string(take(number<uint64_t>())); }
  void element(ReadGguf::Value& value) {
    switch (value.type) {
      case 4:
        return value.numbers.push_back(number<uint32_t>());
      case 5:
        return value.numbers.push_back(number<int32_t>());
      case 6:
        return value.numbers.push_back(static_cast<double>(number<float>()));
      case 7:
        return value.numbers.push_back(number<uint8_t>());
      case 8:
        return value.texts.push_back(text());
      case 10:
        return value.numbers.push_back(static_cast<double>(number<uint64_t>()));
      default:
        throw std::runtime_error("value type " + std::to_string(value.type));
    }
  }

  ReadGguf file_;
  uint64_t at_ = 0;
};

inline ReadGguf read_gguf(std::string bytes) { return GgufReading(std::move(bytes)).read(); }

}  // namespace nanochat::testing
