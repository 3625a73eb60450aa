#include "tokenizer/protobuf_reader.h"

#include <bit>

#include "base/error.h"

namespace nanochat {

void ProtobufReader::refuse(std::string_view reason) const {
  throw Error(Status::format_invalid)
      .subject(file_)
      .say("{}: byte {}: {}", file_, offset_ + field_begin_, reason);
}

uint64_t ProtobufReader::read_varint() {
  uint64_t value = 0;
  for (unsigned shift = 0; shift < 64; shift += 7) {
    if (position_ == message_.size()) refuse("a number is cut off");
    const auto byte = static_cast<uint8_t>(message_[position_++]);
    if (shift == 63 && byte > 1) refuse("a number of more than 64 bits");
    value |= static_cast<uint64_t>(byte & 0x7f) << shift;
    if (byte < 0x80) return value;
  }
  refuse("a number of more than 64 bits");
}

uint64_t ProtobufReader::read_fixed(size_t n_bytes) {
  if (message_.size() - position_ < n_bytes) refuse("a number is cut off");
  uint64_t value = 0;
  for (size_t i = n_bytes; i-- > 0;) value = value << 8 | static_cast<uint8_t>(message_[position_ + i]);
  position_ += n_bytes;
  return value;
}

bool ProtobufReader::next() {
  field_begin_ = position_;
  if (position_ == message_.size()) return false;
  const uint64_t tag = read_varint();
  if (tag >> 3 == 0 || tag >> 3 >= uint64_t{1} << 29) refuse(format_text("field number {}", tag >> 3));
  field_ = static_cast<uint32_t>(tag >> 3);
  wire_ = static_cast<uint32_t>(tag & 7);
  switch (wire_) {
    case kVarint:
      value_ = read_varint();
      return true;
    case kFixed64:
      value_ = read_fixed(8);
      return true;
    case kFixed32:
      value_ = read_fixed(4);
      return true;
    case kLength: {
      const uint64_t size = read_varint();
      if (size > message_.size() - position_) {
        refuse(format_text("field {} has {} bytes, {} are left", field_, size, message_.size() - position_));
      }
      bytes_ = message_.substr(position_, size);
      position_ += size;
      return true;
    }
    default:
      refuse(format_text("field {} has the wire type {}", field_, wire_));
  }
}

void ProtobufReader::require(Wire wire) const {
  if (wire_ != wire) {
    refuse(format_text("field {} has the wire type {}, expected {}", field_, wire_,
                       static_cast<uint32_t>(wire)));
  }
}

uint64_t ProtobufReader::integer() const {
  require(kVarint);
  return value_;
}

float ProtobufReader::number() const {
  require(kFixed32);
  return std::bit_cast<float>(static_cast<uint32_t>(value_));
}

std::string_view ProtobufReader::bytes() const {
  require(kLength);
  return bytes_;
}

ProtobufReader ProtobufReader::message() const {
  require(kLength);
  return {bytes_, file_, offset_ + position_ - bytes_.size()};
}

}  // namespace nanochat
