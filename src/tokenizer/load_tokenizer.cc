#include "base/error.h"
#include "base/file.h"
#include "base/json.h"
#include "io/zstd_stream.h"
#include "tokenizer/bert_vocabulary.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/sentence_piece_file.h"
#include "tokenizer/tiktoken_file.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 28;  // about ten times the largest file known
constexpr uint64_t kMaxConfigBytes = uint64_t{1} << 24;

// In the order in which they are looked for in a folder.
constexpr const char* kFileNames[] = {"tokenizer.json", "tokenizer.model", "spiece.model",
                                      "sentencepiece.bpe.model", "vocab.txt"};

Json config_beside(const std::string& path) {
  const size_t slash = path.rfind('/');
  const std::string config = slash == std::string::npos ? "tokenizer_config.json"
                                                        : path.substr(0, slash + 1) + "tokenizer_config.json";
  return file_exists(config) ? parse_json(read_text_file(config, kMaxConfigBytes), config) : Json();
}

bool is_json(std::string_view text) {
  const size_t first = text.find_first_not_of(" \t\r\n\xef\xbb\xbf");
  return first != std::string_view::npos && text[first] == '{';
}

}  // namespace

std::string find_tokenizer_file(const std::string& folder) {
  for (const char* name : kFileNames) {
    if (std::string path = join_path(folder, name); file_exists(path)) return path;
  }
  return join_path(folder, kFileNames[0]);
}

std::shared_ptr<const Tokenizer> load_tokenizer(const std::string& path) {
  const std::string text = read_text_file(path, kMaxFileBytes);
  if (is_json(text)) return parse_tokenizer_json(text, path);
  if (looks_like_tiktoken(text)) {
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: a tiktoken rank file does not say how to split text nor which special tokens there are",
             path)
        .hint("load it with a split pattern and its special tokens");
  }
  if (looks_like_sentence_piece(text)) return make_sentence_piece(parse_sentence_piece(text, path), path);
  if (looks_like_bert_vocabulary(text)) return parse_bert_vocabulary(text, path, config_beside(path));
  return parse_tokenizer_json(text, path);
}

std::shared_ptr<const Tokenizer> load_tiktoken(const std::string& path, SplitPattern pattern,
                                               const std::vector<SpecialToken>& specials) {
  return make_ranked_bpe(parse_tiktoken(read_text_file(path, kMaxFileBytes), path), pattern, specials, path);
}

}  // namespace nanochat
