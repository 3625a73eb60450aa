#include "tokenizer/added_tokens.h"

#include <algorithm>

#include "tokenizer/unicode_classes.h"

namespace nanochat {

namespace {

// The last character of text[0..end), end > 0.
ClassedChar character_before(std::string_view text, size_t end) {
  for (size_t length = std::min<size_t>(4, end); length > 1; --length) {
    const ClassedChar c = classed_char_at(text.substr(0, end), end - length);
    if (c.length == length) return c;
  }
  return classed_char_at(text.substr(0, end), end - 1);
}

bool touches_word(std::string_view text, size_t begin, size_t end) {
  return (begin > 0 && character_before(text, begin).is(kCharWord)) ||
         (end < text.size() && classed_char_at(text, end).is(kCharWord));
}

size_t skip_spaces_back(std::string_view text, size_t begin, size_t limit) {
  while (begin > limit) {
    const ClassedChar c = character_before(text, begin);
    if (!c.is(kCharSpace)) break;
    begin -= c.length;
  }
  return std::max(begin, limit);
}

size_t skip_spaces(std::string_view text, size_t end) {
  while (end < text.size()) {
    const ClassedChar c = classed_char_at(text, end);
    if (!c.is(kCharSpace)) break;
    end += c.length;
  }
  return end;
}

}  // namespace

uint32_t TextFinder::child(uint32_t node, uint8_t byte) const {
  const auto& children = nodes_[node].children;
  const auto found = std::lower_bound(children.begin(), children.end(), byte,
                                      [](const auto& entry, uint8_t wanted) { return entry.first < wanted; });
  return found != children.end() && found->first == byte ? found->second : kNone;
}

void TextFinder::add(std::string_view text, uint32_t value) {
  uint32_t node = 0;
  const auto first = static_cast<uint8_t>(text[0]);
  only_first_byte_ = empty() || only_first_byte_ == first ? first : -1;
  first_bytes_[first] = true;
  if (text.size() == 1) {
    single_bytes_[first] = true;
  } else {
    first_pairs_[first * size_t{256} + static_cast<uint8_t>(text[1])] = true;
  }
  for (const char c : text) {
    const auto byte = static_cast<uint8_t>(c);
    uint32_t next = child(node, byte);
    if (next == kNone) {
      next = static_cast<uint32_t>(nodes_.size());
      nodes_.emplace_back();
      auto& children = nodes_[node].children;
      children.insert(std::upper_bound(children.begin(), children.end(), std::pair(byte, uint32_t{0})),
                      {byte, next});
    }
    node = next;
  }
  if (nodes_[node].value == kNone) nodes_[node].value = value;
}

size_t TextFinder::next_candidate(std::string_view text, size_t position) const {
  for (; position < text.size(); ++position) {
    if (only_first_byte_ >= 0) {
      position = std::min(text.find(static_cast<char>(only_first_byte_), position), text.size());
      if (position == text.size()) break;
    }
    const auto byte = static_cast<uint8_t>(text[position]);
    if (!first_bytes_[byte]) continue;
    if (single_bytes_[byte]) break;
    if (position + 1 == text.size()) return text.size();
    if (first_pairs_[byte * size_t{256} + static_cast<uint8_t>(text[position + 1])]) break;
  }
  return position;
}

bool TextFinder::find(std::string_view text, size_t from, const std::vector<bool>* left_out, size_t& begin,
                      size_t& end, uint32_t& value) const {
  if (empty()) return false;
  for (begin = next_candidate(text, from); begin < text.size(); begin = next_candidate(text, begin + 1)) {
    bool found = false;
    uint32_t node = 0;
    for (size_t position = begin; position < text.size();) {
      node = child(node, static_cast<uint8_t>(text[position]));
      if (node == kNone) break;
      ++position;
      if (nodes_[node].value == kNone || (left_out && (*left_out)[nodes_[node].value])) continue;
      found = true;
      end = position;
      value = nodes_[node].value;
    }
    if (found) return true;
  }
  return false;
}

AddedTokens::AddedTokens(std::vector<AddedToken> tokens, const PipelineNormalizer& normalizer)
    : tokens_(std::move(tokens)) {
  std::sort(tokens_.begin(), tokens_.end(),
            [](const AddedToken& a, const AddedToken& b) { return a.id < b.id; });
  for (size_t i = 0; i < tokens_.size(); ++i) {
    AddedToken& token = tokens_[i];
    token.decoded = token.normalized ? normalizer.apply(token.text) : token.text;
    if (token.decoded.empty()) continue;
    Search& search = token.normalized ? normalized_ : raw_;
    search.finder.add(token.decoded, static_cast<uint32_t>(i));
    search.only_specials = search.only_specials && token.special;
  }
}

void AddedTokens::split(const Search& search, std::string_view text, const EncodeOptions& options,
                        std::vector<Segment>& segments) const {
  std::vector<bool> left_out;
  if (options.in_text == SpecialsInText::listed) {
    for (const AddedToken& token : tokens_) {
      left_out.push_back(token.special && std::find(options.allowed.begin(), options.allowed.end(),
                                                    token.id) == options.allowed.end());
    }
  }
  const bool finds_nothing = options.in_text == SpecialsInText::none && search.only_specials;
  size_t done = 0, begin = 0, end = 0;
  uint32_t index = 0;
  for (size_t from = finds_nothing ? text.size() : 0;
       search.finder.find(text, from, left_out.empty() ? nullptr : &left_out, begin, end, index);) {
    from = end;
    const AddedToken& token = tokens_[index];
    if (token.special && options.in_text == SpecialsInText::none) continue;
    if (token.single_word && touches_word(text, begin, end)) continue;
    if (token.left_strip) begin = skip_spaces_back(text, begin, done);
    if (token.right_strip) end = skip_spaces(text, end);
    if (done < begin) segments.push_back({-1, text.substr(done, begin - done)});
    segments.push_back({token.id, text.substr(begin, end - begin)});
    done = end;
  }
  if (done < text.size()) segments.push_back({-1, text.substr(done)});
}

}  // namespace nanochat
