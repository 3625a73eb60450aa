#include "io/text_source.h"

#include <utility>

namespace nanochat {

namespace {

constexpr size_t kStoredBytes = size_t{1} << 17;

}  // namespace

TextSource::TextSource(std::string path)
    : path_(std::move(path)), file_(file_door::open_regular_file(path_, file_bytes_)) {
  if (!path_.ends_with(".zst")) return;
  decoder_.emplace(path_, file_bytes_);
  stored_.resize(kStoredBytes);
}

bool TextSource::refill() {
  const size_t got = file_door::read_fully(file_.get(), path_, stored_.data(), stored_.size(), offset_);
  offset_ += got;
  unread_ = {stored_.data(), got};
  return got > 0;
}

size_t TextSource::read(std::span<char> into) {
  const std::span<std::byte> bytes = std::as_writable_bytes(into);
  if (!decoder_) {
    const size_t got = file_door::read_fully(file_.get(), path_, bytes.data(), bytes.size(), offset_);
    offset_ += got;
    return got;
  }
  size_t filled = 0;
  while (filled < bytes.size()) {
    filled += decoder_->decode(unread_, bytes.subspan(filled));
    if (filled == bytes.size()) break;
    if (!refill()) {
      decoder_->finish();
      break;
    }
  }
  return filled;
}

}  // namespace nanochat
