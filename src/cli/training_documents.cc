#include "training_documents.h"

namespace nanochat::cli {

int32_t TrainingDocuments::on_document(const char** text, size_t* size, void* user_data) {
  auto& documents = *static_cast<TrainingDocuments*>(user_data);
  try {
    std::string_view document;
    if (!documents.next(document)) return 0;
    *text = document.data();
    *size = document.size();
    return 1;
  } catch (...) {
    documents.failure_ = std::current_exception();
    return -1;
  }
}

bool TrainingDocuments::next_file(std::string_view& document) {
  if (next_input_ == inputs_.size()) return false;
  file_ = read_whole(inputs_[next_input_++]);
  document = file_;
  return true;
}

bool TrainingDocuments::next_line(std::string_view& document) {
  for (;;) {
    if (lines_ && lines_->next(document)) return true;
    if (next_input_ == inputs_.size()) return false;
    lines_ = std::make_unique<LineReader>(inputs_[next_input_++]);
  }
}

}  // namespace nanochat::cli
