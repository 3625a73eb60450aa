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

bool TextFinder::find(std::string_view text, size_t from, size_t& begin, size_t& end, uint32_t& value) const {
  if (empty()) return false;
  for (begin = from; begin < text.size(); ++begin) {
    bool found = false;
    uint32_t node = 0;
    for (size_t position = begin; position < text.size();) {
      node = child(node, static_cast<uint8_t>(text[position]));
      if (node == kNone) break;
      ++position;
      if (nodes_[node].value == kNone) continue;
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
    if (!token.decoded.empty())
      (token.normalized ? normalized_ : raw_).add(token.decoded, static_cast<uint32_t>(i));
  }
}

void AddedTokens::split(const TextFinder& finder, std::string_view text, SpecialsInText in_text,
                        std::vector<Segment>& segments) const {
  size_t done = 0, begin = 0, end = 0;
  uint32_t index = 0;
  for (size_t from = 0; finder.find(text, from, begin, end, index);) {
    from = end;
    const AddedToken& token = tokens_[index];
    if (token.special && in_text == SpecialsInText::none) continue;
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
