// Text to token ids and back. Immutable after construction: share it between threads.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

namespace nanochat {

using TokenId = int32_t;

// Bytes [begin, end) of a text or of a part of it.
struct TokenSpan {
  size_t begin;
  size_t end;
};

struct SpecialToken {
  std::string text;
  TokenId id;
};

// Which special tokens are recognised in the text itself: all, or those of EncodeOptions::allowed. Everything
// else is plain text.
enum class SpecialsInText : int32_t { none, all, listed };
// Whether the file's own post-processor adds its tokens (bos, eos, [CLS] ...) around the text.
enum class AddSpecials : int32_t { no, yes };

struct EncodeOptions {
  SpecialsInText in_text = SpecialsInText::none;
  AddSpecials add = AddSpecials::no;
  std::span<const TokenId> allowed{};  // SpecialsInText::listed; ids of other tokens mean nothing
};

// How lists of tokens are cut and filled up where many texts are encoded at once. encode() does neither.
struct TruncationRule {
  enum class Keep : uint8_t { start, end };
  bool is_set = false;
  size_t max_tokens = 0;  // with the tokens that are put around a text
  Keep keep = Keep::start;
};
struct PaddingRule {
  static constexpr size_t kMost = size_t{1} << 24;  // tokens
  enum class To : uint8_t { none, longest, fixed };
  To to = To::none;
  size_t length = 0;       // To::fixed
  size_t multiple_of = 0;  // 0, 1: of any length
  bool at_start = false;   // where the padding goes
  TokenId id = 0;
};
struct LengthRules {
  TruncationRule truncation;
  PaddingRule padding;
};

struct SplitRules;  // split_scanner.h

class Tokenizer {
 public:
  virtual ~Tokenizer() = default;

  // Any bytes are legal input: what is not UTF-8 is encoded by its bytes where the vocabulary has them, else
  // as U+FFFD or the unknown token, as the format says. Appends to `ids` and, if `spans` is not null, for
  // each id the bytes of `text` it stands for: whole characters, so two ids that share one overlap. {0, 0}
  // for an id that stands for no text (bos, [CLS]). Where the text was rewritten, the bytes that it was
  // rewritten from.
  virtual void encode(std::string_view text, const EncodeOptions& options, std::vector<TokenId>& ids,
                      std::vector<TokenSpan>* spans = nullptr) const = 0;

  // How many ids encode() would append, found without storing them where the model can.
  virtual size_t count(std::string_view text, const EncodeOptions& options) const = 0;

  // The exact bytes; not always UTF-8. Throws out_of_range naming the id and the vocabulary size. With
  // skip_specials, special tokens give nothing. A leading space that the encoder had added is removed, as the
  // file's decoder says.
  virtual std::string decode(std::span<const TokenId> ids, bool skip_specials) const = 0;

  // The bytes that this token contributes to a text. `is_first`: no token came before it, but for specials
  // that are skipped. Streaming a list of tokens through this gives the same bytes as decode().
  virtual std::string token_bytes(TokenId id, bool is_first, bool skip_specials) const = 0;

  // What token_bytes() would be if no token came after; else what it is. The same but for decoders that put
  // spaces between words: streaming the last token through this instead gives the same bytes as decode().
  virtual std::string last_token_bytes(TokenId id, bool is_first, bool skip_specials) const {
    return token_bytes(id, is_first, skip_specials);
  }
  virtual bool differs_at_end() const { return false; }  // whether that ever is something else
  // Whether decode() passes over a token that is the same as the one before it.
  virtual bool drops_repeats() const { return false; }

  // No text of this many bytes gives more ids, whatever the options.
  virtual size_t encode_bound(size_t text_bytes) const = 0;

  virtual int32_t vocab_size() const = 0;  // largest id + 1
  virtual const std::vector<SpecialToken>& specials() const = 0;
  virtual TokenId bos() const = 0;                             // -1: none
  virtual const LengthRules& lengths() const = 0;              // the file's own
  virtual std::span<const TokenId> tokens_before() const = 0;  // a text, with AddSpecials::yes
  virtual std::span<const TokenId> tokens_after() const = 0;
  // With these options, a text's ids are those of the pieces of these rules, one after another, but for what
  // is put around it. nullptr: it is not as simple as that.
  virtual const SplitRules* only_split_rules(const EncodeOptions& options) const = 0;
  virtual std::string to_json() const = 0;  // tokenizer.json (Hugging Face form)

  TokenId special_id(std::string_view text) const;  // -1: none
  bool is_special(TokenId id) const;
  std::vector<TokenId> encode(std::string_view text, const EncodeOptions& options = {}) const {
    std::vector<TokenId> ids;
    encode(text, options, ids);
    return ids;
  }
};

// Split rules by name. The pattern text is the reference's own, byte for byte.
enum class SplitPattern : int32_t { nanochat, gpt2, cl100k, o200k, llama3 };
std::string_view split_pattern_text(SplitPattern pattern);
bool split_pattern_from_name(std::string_view name, SplitPattern& pattern);  // "nanochat", "gpt2", ...

// tokenizer.json of Hugging Face, of the reference's golden form (merges as id pairs), a SentencePiece model,
// a vocab.txt of BERT, or a tiktoken rank file (*.tiktoken; needs a pattern). The form is found from the
// content. Throws format_invalid or format_unsupported naming the file, the field and what was found.
std::string find_tokenizer_file(
    const std::string& folder);  // the one to load; tokenizer.json if there is none
std::shared_ptr<const Tokenizer> load_tokenizer(const std::string& path);
std::shared_ptr<const Tokenizer> load_tiktoken(const std::string& path, SplitPattern pattern,
                                               const std::vector<SpecialToken>& specials);
std::shared_ptr<const Tokenizer> parse_tokenizer_json(std::string_view text, std::string_view name);

// A byte-level BPE from its parts: token bytes in id order (the first 256 are the single bytes), merges
// implied by rank order as tiktoken has it; specials follow.
std::shared_ptr<const Tokenizer> make_byte_bpe(std::vector<std::string> token_bytes, SplitPattern pattern,
                                               std::vector<SpecialToken> specials);

}  // namespace nanochat
