// The wire format of protocol buffers, as much as reading a message field by field needs.
#pragma once

#include <cstdint>
#include <string_view>

namespace nanochat {

class ProtobufReader {
 public:
  // `offset` is where the message begins in the file called `file`, for error messages.
  ProtobufReader(std::string_view message, std::string_view file, size_t offset = 0)
      : message_(message), file_(file), offset_(offset) {}

  // Reads the next field; false at the end. Throws format_invalid naming the file and the byte for anything
  // cut off, for groups, and for field numbers that there are not.
  bool next();
  uint32_t field() const { return field_; }

  // The value of the field just read; throws format_invalid if its wire type is another.
  uint64_t integer() const;
  bool boolean() const { return integer() != 0; }
  float number() const;
  std::string_view bytes() const;
  ProtobufReader message() const;

  [[noreturn]] void refuse(std::string_view reason) const;  // at the field just read

 private:
  enum Wire : uint32_t { kVarint = 0, kFixed64 = 1, kLength = 2, kFixed32 = 5 };
  uint64_t read_varint();
  uint64_t read_fixed(size_t n_bytes);
  void require(Wire wire) const;

  std::string_view message_;
  std::string_view file_;
  size_t offset_;
  size_t position_ = 0;
  size_t field_begin_ = 0;
  uint32_t field_ = 0;
  uint32_t wire_ = 0;
  uint64_t value_ = 0;
  std::string_view bytes_;
};

}  // namespace nanochat
