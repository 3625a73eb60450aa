// The split scanners against PCRE2: any bytes, every pattern; and which pieces are final once more bytes
// come. The first byte picks the pattern, the second where the text is cut.
#include <cstdint>
#include <string_view>
#include <vector>

#include "../unit/tokenizer/regex_oracle.h"
#include "fuzz_property.h"
#include "tokenizer/split_scanner.h"

using namespace nanochat;

namespace {

// PCRE2's tables may be older than ours: then they take a new character for none.
bool is_known_to_the_oracle(std::string_view text) {
  static const RegexOracle unassigned(R"([^\p{Cn}]*)");
  for (size_t position = 0; position < text.size();) {
    const DecodedCodepoint c = decode_utf8(text, position);
    if (c.valid && !unassigned.matches(text.substr(position, c.length))) return false;
    position += c.length;
  }
  return true;
}

const RegexOracle& oracle_of(SplitPattern pattern) {
  static const RegexOracle oracles[] = {RegexOracle(split_pattern_text(SplitPattern::nanochat)),
                                        RegexOracle(split_pattern_text(SplitPattern::gpt2)),
                                        RegexOracle(split_pattern_text(SplitPattern::cl100k)),
                                        RegexOracle(split_pattern_text(SplitPattern::o200k)),
                                        RegexOracle(split_pattern_text(SplitPattern::llama3))};
  return oracles[static_cast<size_t>(pattern)];
}

}  // namespace

extern "C" int LLVMFuzzerTestOneInput(const uint8_t* data, size_t size) {
  if (size < 2) return 0;
  const auto pattern = static_cast<SplitPattern>(data[0] % 5);
  const std::string_view text(reinterpret_cast<const char*>(data) + 2, size - 2);
  const SplitRules& rules = split_rules(pattern);
  std::vector<size_t> ends(text.size() + 1);
  ends.resize(find_piece_ends(rules, text, 0, ends));
  if (is_known_to_the_oracle(text)) require_property(ends == oracle_of(pattern).piece_ends(text));
  for (size_t i = 0, begin = 0; i < ends.size(); begin = ends[i++]) {
    require_property(piece_end(rules, text, begin) == ends[i]);
  }

  const std::string_view begun = text.substr(0, text.size() * data[1] / 255);
  const size_t final_end = final_pieces_end(rules, begun);
  for (size_t i = 0, end = 0; end < final_end; ++i) {
    end = piece_end(rules, begun, end);
    require_property(end == ends[i]);
  }
  return 0;
}
