// Any bytes as a SentencePiece model: refused, or a tokenizer that encodes, decodes and writes itself.
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_property.h"
#include "tokenizer/decoded_stream.h"
#include "tokenizer/sentence_piece_file.h"

using namespace nanochat;

namespace {

void use(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  std::vector<TokenId> ids;
  std::vector<TokenSpan> spans;
  tokenizer->encode(text, {SpecialsInText::all, AddSpecials::yes}, ids, &spans);
  require_property(ids.size() <= tokenizer->encode_bound(text.size()));
  require_property(spans.size() == ids.size());
  for (const TokenSpan& span : spans) require_property(span.begin <= span.end && span.end <= text.size());
  DecodedStream stream(tokenizer, DecodedStream::Specials::shown, DecodedStream::Form::exact);
  std::string streamed;
  for (const TokenId id : ids) streamed += stream.push({&id, 1});
  require_property(streamed + stream.finish() == tokenizer->decode(ids, false));
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view bytes(reinterpret_cast<const char*>(data), size);
  looks_like_sentence_piece(bytes);
  try {
    const auto tokenizer = make_sentence_piece(parse_sentence_piece(bytes, "fuzz"), "fuzz");
    use(tokenizer, bytes.substr(0, 2048));
    use(tokenizer, "  a  b\n<s>\xe2\x96\x81\xff 12345, don't \xef\xac\x81 \xf0\x9f\x98\x80 ");
    parse_tokenizer_json(tokenizer->to_json(), "written");
  } catch (const Error& error) {
    require_refusal(error);
  }
  return 0;
}
