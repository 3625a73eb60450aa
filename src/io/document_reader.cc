#include "io/document_reader.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "base/file.h"

namespace nanochat {

bool document_form(std::string_view path, DocumentForm& form) {
  if (path.ends_with(".zst")) path.remove_suffix(4);
  if (path.ends_with(".txt")) {
    form = DocumentForm::text;
  } else if (path.ends_with(".jsonl")) {
    form = DocumentForm::json_lines;
  } else {
    return false;
  }
  return true;
}

std::vector<std::string> list_document_files(const std::vector<std::string>& paths) {
  constexpr const char* kKinds = ".txt, .jsonl, .txt.zst or .jsonl.zst";
  std::vector<std::string> files;
  DocumentForm form{};
  for (const std::string& path : paths) {
    if (!directory_exists(path)) {
      if (!document_form(path, form)) {
        throw Error(Status::format_unsupported)
            .subject(path)
            .say("{}: documents are read from {} files and folders of them", path, kKinds);
      }
      files.push_back(path);
      continue;
    }
    const size_t n_before = files.size();
    for (const std::string& name : list_directory(path)) {
      const std::string file = join_path(path, name);
      if (document_form(name, form) && file_exists(file)) files.push_back(file);
    }
    if (files.size() == n_before) {
      throw Error(Status::file_not_found).subject(path).say("{}: no {} file in this folder", path, kKinds);
    }
  }
  return files;
}

DocumentReader::DocumentReader(std::vector<std::string> files, DocumentReaderOptions options)
    : files_(std::move(files)), options_(std::move(options)) {
  for (const std::string& path : files_) {
    uint64_t size = 0;
    file_door::open_regular_file(path, size);
    total_bytes_ += size;
  }
}

std::string DocumentReader::name(const DocumentBatch::Part& part) const {
  const std::string& path = file(part.file);
  return part.form == DocumentForm::text ? path : format_text("{}: line {}", path, part.line);
}

void DocumentReader::open_next() {
  const std::string& path = files_[next_file_++];
  source_ = std::make_unique<TextSource>(path);
  document_form(path, form_);
  if (form_ == DocumentForm::text && options_.text_is_lines) form_ = DocumentForm::lines;
  line_ = 1;
}

bool DocumentReader::read(DocumentBatch& batch) {
  batch.clear();
  size_t room = options_.batch_bytes;
  while (batch.bytes.size() < room) {
    if (!source_) {
      if (next_file_ == files_.size()) break;
      open_next();
    }
    const size_t begin = batch.bytes.size();
    batch.bytes += carried_;
    const size_t filled = batch.bytes.size();
    batch.bytes.resize(std::max(room, filled + 1));
    const std::span<char> free = std::span(batch.bytes).subspan(filled);
    const size_t got = source_->read(free);
    const bool ended = got < free.size();
    batch.bytes.resize(filled + got);
    carried_.clear();
    take_parts(batch, begin, ended);
    if (ended) {
      bytes_before_ += source_->bytes_read();
      source_.reset();
      continue;
    }
    if (!batch.parts.empty()) break;
    // One line or one piece is longer than the batch.
    room = std::max(room, carried_.size()) * 2;
    if (carried_.size() < options_.max_part_bytes) continue;
    const DocumentBatch::Part part{0, 0, line_, static_cast<uint32_t>(next_file_ - 1), form_};
    throw Error(Status::working_memory_exhausted)
        .subject(files_[next_file_ - 1])
        .field("needed_bytes", uint64_t{carried_.size()})
        .field("allowed_bytes", options_.max_part_bytes)
        .say("{}: more than {} bytes that cannot be cut, at most {} fit into the memory allowed", name(part),
             carried_.size(), options_.max_part_bytes);
  }
  return !batch.parts.empty() || !batch.bytes.empty();
}

void DocumentReader::add_part(DocumentBatch& batch, size_t begin, size_t end) const {
  if (begin == end) return;
  batch.parts.push_back({begin, end - begin, line_, static_cast<uint32_t>(next_file_ - 1), form_});
}

// Parts of what was read from `begin` on; the rest is carried over to the next batch.
void DocumentReader::take_parts(DocumentBatch& batch, size_t begin, bool ended) {
  size_t end = batch.bytes.size();
  if (form_ == DocumentForm::text) {
    if (!ended) end = begin + options_.cut(std::string_view(batch.bytes).substr(begin));
    add_part(batch, begin, end);
  } else {
    if (!ended) end = std::max(begin, std::string_view(batch.bytes).rfind('\n') + 1);
    take_lines(batch, begin, end);
  }
  carried_.assign(batch.bytes, end);
  batch.bytes.resize(end);
}

void DocumentReader::take_lines(DocumentBatch& batch, size_t begin, size_t end) {
  const std::string_view bytes(batch.bytes);
  while (begin < end) {
    const size_t stop = std::min(bytes.find('\n', begin), end);
    add_part(batch, begin, stop);
    ++line_;
    begin = stop + 1;
  }
}

}  // namespace nanochat
