#include "base/error.h"
#include "io/zstd_stream.h"
#include "tokenizer/byte_bpe.h"
#include "tokenizer/tiktoken_file.h"
#include "tokenizer/tokenizer.h"

namespace nanochat {

namespace {

constexpr uint64_t kMaxFileBytes = uint64_t{1} << 28;  // about ten times the largest file known

}  // namespace

std::shared_ptr<const Tokenizer> load_tokenizer(const std::string& path) {
  const std::string text = read_text_file(path, kMaxFileBytes);
  if (looks_like_tiktoken(text)) {
    throw Error(Status::format_unsupported)
        .subject(path)
        .say("{}: a tiktoken rank file does not say how to split text nor which special tokens there are",
             path)
        .hint("load it with a split pattern and its special tokens");
  }
  return parse_tokenizer_json(text, path);
}

std::shared_ptr<const Tokenizer> load_tiktoken(const std::string& path, SplitPattern pattern,
                                               const std::vector<SpecialToken>& specials) {
  return make_ranked_bpe(parse_tiktoken(read_text_file(path, kMaxFileBytes), path), pattern, specials, path);
}

}  // namespace nanochat
