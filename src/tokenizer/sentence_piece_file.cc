// Reading. The message and field numbers are those of sentencepiece_model.proto.
#include "tokenizer/sentence_piece_file.h"

#include <cmath>
#include <unordered_map>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/protobuf_reader.h"
#include "tokenizer/vocabulary.h"

namespace nanochat {

namespace {

using Type = SentencePieceFile::Type;

template <class... A>
[[noreturn]] void refuse(Status status, std::string_view name, std::string_view pattern,
                         const A&... arguments) {
  throw Error(status).subject(name).say("{}: {}", name, format_text(pattern, arguments...));
}

SentencePieceFile::Piece read_piece(ProtobufReader message, size_t id) {
  SentencePieceFile::Piece piece;
  while (message.next()) {
    if (message.field() == 1) {
      piece.text = message.bytes();
    } else if (message.field() == 2) {
      piece.score = message.number();
    } else if (message.field() == 3) {
      const uint64_t type = message.integer();
      if (type < 1 || type > 6) message.refuse(format_text("piece {} has the type {}", id, type));
      piece.type = static_cast<Type>(type);
    }
  }
  if (piece.text.empty()) message.refuse(format_text("piece {} has no text", id));
  if (!is_valid_utf8(piece.text)) message.refuse(format_text("piece {} is not UTF-8", id));
  if (!std::isfinite(piece.score)) {
    message.refuse(format_text("piece {}, '{}', has a score that is no number", id, excerpt(piece.text)));
  }
  return piece;
}

void read_trainer(ProtobufReader message, SentencePieceFile& file, std::string_view name) {
  while (message.next()) {
    switch (message.field()) {
      case 3: {
        const uint64_t model = message.integer();
        if (model == 3 || model == 4) {
          refuse(Status::format_unsupported, name, "a SentencePiece model of the type {}",
                 model == 3 ? "word" : "char");
        }
        if (model != 1 && model != 2) message.refuse(format_text("the model type {}", model));
        file.model = static_cast<SentencePieceFile::Model>(model);
        break;
      }
      case 24:
        if (message.boolean()) {
          refuse(Status::format_unsupported, name, "treat_whitespace_as_suffix is set");
        }
        break;
      case 35:
        file.byte_fallback = message.boolean();
        break;
      case 44:
        file.unknown_text = message.bytes();
        break;
      default:
        break;
    }
  }
}

void read_normalizer(ProtobufReader message, SentencePieceFile& file, std::string_view name) {
  while (message.next()) {
    switch (message.field()) {
      case 2:
        file.charsmap = message.bytes();
        break;
      case 3:
        file.space_before_text = message.boolean();
        break;
      case 4:
        file.removes_extra_spaces = message.boolean();
        break;
      case 5:
        if (!message.boolean()) refuse(Status::format_unsupported, name, "escape_whitespaces is not set");
        break;
      default:
        break;
    }
  }
}

void refuse_denormalizer(ProtobufReader message, std::string_view name) {
  while (message.next()) {
    if (message.field() == 2 && !message.bytes().empty()) {
      refuse(Status::format_unsupported, name, "the file has rules for denormalizing");
    }
  }
}

bool is_byte_name(std::string_view text) {
  const auto is_digit = [](char c) { return (c >= '0' && c <= '9') || (c >= 'A' && c <= 'F'); };
  return text.size() == 6 && text.starts_with("<0x") && is_digit(text[3]) && is_digit(text[4]) &&
         text[5] == '>';
}

void check(const SentencePieceFile& file, std::string_view name) {
  std::unordered_map<std::string_view, size_t> ids;
  size_t n_bytes = 0, n_unknown = 0;
  for (size_t id = 0; id < file.pieces.size(); ++id) {
    const SentencePieceFile::Piece& piece = file.pieces[id];
    const auto [other, is_new] = ids.emplace(piece.text, id);
    if (!is_new) {
      refuse(Status::format_invalid, name, "pieces {} and {} are both '{}'", other->second, id,
             excerpt(piece.text));
    }
    if (piece.type == Type::user_defined) {
      refuse(Status::format_unsupported, name, "piece {}, '{}', is user-defined", id, excerpt(piece.text));
    }
    if (piece.type == Type::unused && file.model == SentencePieceFile::Model::bpe) {
      refuse(Status::format_unsupported, name, "piece {}, '{}', is unused in a BPE model", id,
             excerpt(piece.text));
    }
    if (piece.type == Type::byte) {
      if (!is_byte_name(piece.text)) {
        refuse(Status::format_invalid, name, "piece {} is to be a byte, but is '{}'", id,
               excerpt(piece.text));
      }
      ++n_bytes;
    }
    n_unknown += piece.type == Type::unknown ? 1 : 0;
  }
  if (n_unknown != 1) {
    refuse(Status::format_invalid, name, "{} of {} pieces are the unknown one, expected 1", n_unknown,
           file.pieces.size());
  }
  if (const size_t expected = file.byte_fallback ? 256 : 0; n_bytes != expected) {
    refuse(Status::format_invalid, name, "{} pieces are bytes, expected {}", n_bytes, expected);
  }
}

}  // namespace

// The first field of every such file is a piece, whose first field is its text.
bool looks_like_sentence_piece(std::string_view bytes) {
  return bytes.size() > 4 && bytes[0] == '\x0a' && static_cast<uint8_t>(bytes[1]) < 0x80 &&
         bytes[2] == '\x0a' && static_cast<uint8_t>(bytes[3]) <= static_cast<uint8_t>(bytes[1]) - 2;
}

SentencePieceFile parse_sentence_piece(std::string_view bytes, std::string_view name) {
  SentencePieceFile file;
  bool has_trainer = false;
  ProtobufReader message(bytes, name);
  while (message.next()) {
    switch (message.field()) {
      case 1:
        if (file.pieces.size() > static_cast<size_t>(kMaxTokenId)) {
          message.refuse(format_text("more than {} pieces", kMaxTokenId + 1));
        }
        file.pieces.push_back(read_piece(message.message(), file.pieces.size()));
        break;
      case 2:
        has_trainer = true;
        read_trainer(message.message(), file, name);
        break;
      case 3:
        read_normalizer(message.message(), file, name);
        break;
      case 5:
        refuse_denormalizer(message.message(), name);
        break;
      default:
        break;
    }
  }
  if (!has_trainer) refuse(Status::format_invalid, name, "the file ends without the trainer's settings");
  check(file, name);
  return file;
}

}  // namespace nanochat
