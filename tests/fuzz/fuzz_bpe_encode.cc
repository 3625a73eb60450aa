// Any bytes with a byte-level BPE come back from their ids; any ids are refused or decoded. The first byte
// picks the split rule, the second how much of the input makes the vocabulary.
#include <algorithm>
#include <cstdint>
#include <cstring>
#include <set>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_property.h"
#include "tokenizer/split_scanner.h"
#include "tokenizer/tokenizer.h"

using namespace nanochat;

namespace {

// The single bytes, then texts cut out of the input: not what training would give, which is the point.
std::vector<std::string> tokens_from(std::string_view input) {
  std::vector<std::string> tokens;
  for (int byte = 0; byte < 256; ++byte) tokens.emplace_back(1, static_cast<char>(byte));
  std::set<std::string> seen(tokens.begin(), tokens.end());
  while (!input.empty()) {
    const size_t length = 2 + static_cast<uint8_t>(input[0]) % 6;
    std::string token(input.substr(1, length));
    input.remove_prefix(std::min(input.size(), length + 1));
    if (token.size() > 1 && seen.insert(token).second) tokens.push_back(std::move(token));
  }
  return tokens;
}

void decode_any(const Tokenizer& tokenizer, std::string_view input) {
  std::vector<TokenId> ids;
  for (; input.size() >= sizeof(TokenId); input.remove_prefix(sizeof(TokenId))) {
    TokenId id;
    std::memcpy(&id, input.data(), sizeof id);
    ids.push_back(id);
  }
  try {
    tokenizer.decode(ids, false);
  } catch (const Error& error) {
    require_refusal(error);
  }
  const auto n_usable = static_cast<uint32_t>(tokenizer.special_id("<s>")) + 1;  // gaps follow
  for (TokenId& id : ids) {
    id = static_cast<TokenId>(static_cast<uint32_t>(id) % n_usable);
  }
  std::string streamed;
  for (const TokenId id : ids) streamed += tokenizer.token_bytes(id, streamed.empty(), true);
  require_property(streamed == tokenizer.decode(ids, true));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto pattern = static_cast<SplitPattern>(data[0] % 5);
  const std::string_view input(reinterpret_cast<const char*>(data) + 2, size - 2);
  const size_t n_vocabulary = input.size() * data[1] / 512;
  const std::string_view text = input.substr(n_vocabulary);
  std::vector<std::string> tokens = tokens_from(input.substr(0, n_vocabulary));
  const auto n_tokens = static_cast<TokenId>(tokens.size());
  const auto tokenizer =
      make_byte_bpe(std::move(tokens), pattern, {{"<s>", n_tokens}, {"<s>x", n_tokens + 3}});

  for (const SpecialsInText in_text : {SpecialsInText::none, SpecialsInText::all}) {
    const std::vector<TokenId> ids = tokenizer->encode(text, {in_text, AddSpecials::no});
    require_property(tokenizer->decode(ids, false) == text);
    require_property(ids.size() <= tokenizer->encode_bound(text.size()));
  }
  for (size_t begin = 0, end = 0; begin < text.size(); begin = end) {
    end = piece_end(pattern, text, begin);
    require_property(end > begin && end <= text.size());
  }
  decode_any(*tokenizer, text);
  return 0;
}
