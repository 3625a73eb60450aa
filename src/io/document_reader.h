// The documents of a corpus, read from files in batches that threads can share out.
//   .txt    one document, or one for each line
//   .jsonl  one for each line: a JSON object with the text in one of its members
// each also with .zst behind it.
#pragma once

#include <cstddef>
#include <cstdint>
#include <functional>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "io/text_source.h"

namespace nanochat {

enum class DocumentForm : int32_t { text, lines, json_lines };

// From the name alone. False: none of the kinds above.
bool document_form(std::string_view path, DocumentForm& form);

// The files themselves and those in the folders (not in their subfolders) whose names have a known ending, by
// name. Throws format_unsupported for a file with another ending, file_not_found for a folder without any.
std::vector<std::string> list_document_files(const std::vector<std::string>& paths);

struct DocumentReaderOptions {
  bool text_is_lines = false;            // .txt files
  size_t batch_bytes = size_t{1} << 20;  // about so much is read at a time
  // The longest line, and the longest part of a text that has no place to be cut at. Throws
  // working_memory_exhausted naming file, line and both values.
  uint64_t max_part_bytes = uint64_t{1} << 31;
  // Where a text that goes on may be cut for sure; 0: nowhere yet.
  std::function<size_t(std::string_view)> cut;
};

struct DocumentBatch {
  struct Part {  // a document, or a part of a long text
    size_t begin, size;
    uint64_t line;  // in its file, from 1
    uint32_t file;
    DocumentForm form;
  };
  std::string bytes;
  std::vector<Part> parts;

  std::string_view text(const Part& part) const {
    return std::string_view(bytes).substr(part.begin, part.size);
  }
  void clear() {
    bytes.clear();
    parts.clear();
  }
};

class DocumentReader {
 public:
  // Finds out the size of all files: what is absent is said before anything is read.
  DocumentReader(std::vector<std::string> files, DocumentReaderOptions options);

  // Replaces the batch by the next one. False at the end.
  bool read(DocumentBatch& batch);
  uint64_t bytes_read() const { return bytes_before_ + (source_ ? source_->bytes_read() : 0); }
  uint64_t total_bytes() const { return total_bytes_; }
  const std::string& file(uint32_t index) const { return files_[index]; }
  // How messages name a part: the file, and its line where that means something.
  std::string name(const DocumentBatch::Part& part) const;

 private:
  void open_next();
  void take_parts(DocumentBatch& batch, size_t begin, bool ended);
  void take_lines(DocumentBatch& batch, size_t begin, size_t end);
  void add_part(DocumentBatch& batch, size_t begin, size_t end) const;

  std::vector<std::string> files_;
  DocumentReaderOptions options_;
  uint64_t total_bytes_ = 0, bytes_before_ = 0;
  size_t next_file_ = 0;
  std::unique_ptr<TextSource> source_;  // of files_[next_file_ - 1]
  DocumentForm form_ = DocumentForm::text;
  uint64_t line_ = 1;
  std::string carried_;  // what was read behind the last part
};

}  // namespace nanochat
