// The documents of plain text inputs, of any name or from standard input, for nanochat_tokenizer_train().
#pragma once

#include <cstddef>
#include <cstdint>
#include <exception>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "stream.h"

namespace nanochat::cli {

// Of all inputs in their order: each line, or each file.
class TrainingDocuments {
 public:
  TrainingDocuments(const std::vector<std::string>& inputs, bool whole_files)
      : inputs_(inputs), whole_files_(whole_files) {}

  // A nanochat_document_callback; user_data is a TrainingDocuments. No exception may reach the library.
  static int32_t on_document(const char** text, size_t* size, void* user_data);
  void rethrow_failure() const {
    if (failure_) std::rethrow_exception(failure_);
  }

 private:
  bool next(std::string_view& document) { return whole_files_ ? next_file(document) : next_line(document); }
  bool next_file(std::string_view& document);
  bool next_line(std::string_view& document);

  const std::vector<std::string>& inputs_;
  bool whole_files_;
  size_t next_input_ = 0;
  std::string file_;
  std::unique_ptr<LineReader> lines_;
  std::exception_ptr failure_;
};

}  // namespace nanochat::cli
