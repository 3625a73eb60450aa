// Any bytes as tokenizer.json: refused, or a tokenizer that encodes, decodes and writes itself.
#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "fuzz_property.h"
#include "tokenizer/decoded_stream.h"
#include "tokenizer/tokenizer.h"

using namespace nanochat;

namespace {

void use(const std::shared_ptr<const Tokenizer>& tokenizer, std::string_view text) {
  const EncodeOptions options{SpecialsInText::all, AddSpecials::yes};
  std::vector<TokenId> ids;
  std::vector<TokenSpan> spans;
  tokenizer->encode(text, options, ids, &spans);
  require_property(ids.size() <= tokenizer->encode_bound(text.size()));
  require_property(spans.size() == ids.size());
  for (const TokenSpan& span : spans) require_property(span.begin <= span.end && span.end <= text.size());
  DecodedStream stream(tokenizer, DecodedStream::Specials::shown, DecodedStream::Form::exact);
  std::string streamed;
  for (const TokenId id : ids) streamed += stream.push({&id, 1});
  require_property(streamed + stream.finish() == tokenizer->decode(ids, false));
  tokenizer->decode(ids, true);
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  const std::string_view text(reinterpret_cast<const char*>(data), size);
  try {
    const auto tokenizer = parse_tokenizer_json(text, "fuzz");
    use(tokenizer, text.substr(0, 4096));
    use(tokenizer, " a  b\n<s>\xe2\x96\x81\xff 12345, don't");
    const auto again = parse_tokenizer_json(tokenizer->to_json(), "written");
    require_property(again->vocab_size() == tokenizer->vocab_size());
    require_property(again->encode(text.substr(0, 4096)) == tokenizer->encode(text.substr(0, 4096)));
  } catch (const Error& error) {
    require_refusal(error);
  }
  return 0;
}
