// SentencePiece's own model files (*.model): Unigram and BPE.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "tokenizer/tokenizer.h"

namespace nanochat {

// What such a file says, checked.
struct SentencePieceFile {
  enum class Type : uint8_t { normal = 1, unknown = 2, control = 3, user_defined = 4, unused = 5, byte = 6 };
  struct Piece {
    std::string text;
    float score = 0;
    Type type = Type::normal;
  };
  enum class Model : uint8_t { unigram = 1, bpe = 2 };

  std::vector<Piece> pieces;  // by id
  Model model = Model::unigram;
  bool byte_fallback = false;
  std::string unknown_text = " \xe2\x81\x87 ";  // what the unknown token is decoded to
  std::string charsmap;
  bool space_before_text = true;
  bool removes_extra_spaces = true;
};

bool looks_like_sentence_piece(std::string_view bytes);

// Throws format_invalid or format_unsupported naming `name` and the place.
SentencePieceFile parse_sentence_piece(std::string_view bytes, std::string_view name);

// Gives the ids of the SentencePiece library. Control tokens are special; none are put around a text, since
// such a file does not say which would be.
std::shared_ptr<const Tokenizer> make_sentence_piece(const SentencePieceFile& file, std::string_view name);

}  // namespace nanochat
