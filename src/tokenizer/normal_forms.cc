#include "tokenizer/normal_forms.h"

#include <algorithm>
#include <string>
#include <vector>

#include "base/utf8.h"
#include "tokenizer/character_sets.h"

namespace nanochat {

namespace {

// A character of the result. `change` says what it takes of the source: one character (0), none (above 0: put
// in), or one and -change more.
struct Unit {
  char32_t c;
  int32_t change;
  uint8_t order;  // combining class
};

class Normalizing {
 public:
  Normalizing(NormalForm form, NormalizedText& text)
      : text_(text),
        source_(text.source()),
        kind_(form == NormalForm::nfkc || form == NormalForm::nfkd ? Decomposition::compatible
                                                                   : Decomposition::canonical),
        composes_(form == NormalForm::nfc || form == NormalForm::nfkc) {}

  void run() {
    while (text_.position() < source_.size()) {
      keep_ascii();
      if (text_.position() < source_.size()) step();
    }
  }

 private:
  // All ASCII but the last character, which may take part in what follows.
  void keep_ascii() {
    size_t end = text_.position();
    while (end < source_.size() && static_cast<uint8_t>(source_[end]) < 0x80) ++end;
    if (end < source_.size() && end > text_.position()) --end;
    text_.keep(end - text_.position());
  }

  void step() {
    const DecodedCodepoint first = decode_utf8(source_, text_.position());
    if (!first.valid) return text_.keep(1);
    const bool stays = combining_class(first.codepoint) == 0 && parts_of(first.codepoint) == 1 &&
                       parts_[0] == first.codepoint;
    size_t end = text_.position() + first.length;
    const bool alone = begins(end);
    if (stays && alone) return text_.keep(first.length);
    units_.clear();
    add(first.codepoint);
    while (!begins(end)) {
      const DecodedCodepoint next = decode_utf8(source_, end);
      add(next.codepoint);
      end += next.length;
    }
    sort_marks(units_.size());
    if (composes_) compose_units();
    write(end);
  }

  size_t parts_of(char32_t c) { return n_parts_ = decompose(c, kind_, parts_); }

  // Whether nothing at or after `position` changes what is before it.
  bool begins(size_t position) {
    if (position >= source_.size() || static_cast<uint8_t>(source_[position]) < 0x80) return true;
    const DecodedCodepoint c = decode_utf8(source_, position);
    if (!c.valid) return true;
    if (combining_class(c.codepoint) != 0) return false;
    parts_of(c.codepoint);
    return combining_class(parts_[0]) == 0 && !(composes_ && may_follow_in_composition(parts_[0]));
  }

  void add(char32_t c) {
    parts_of(c);
    for (size_t i = 0; i < n_parts_; ++i) {
      const uint8_t order = combining_class(parts_[i]);
      if (order == 0) sort_marks(units_.size());
      units_.push_back({parts_[i], i == 0 ? 0 : 1, order});
      if (order == 0) sorted_ = units_.size();
    }
  }

  void sort_marks(size_t end) {
    const auto by_order = [](const Unit& a, const Unit& b) { return a.order < b.order; };
    const auto begin = units_.begin() + static_cast<ptrdiff_t>(std::min(sorted_, end));
    if (!std::is_sorted(begin, units_.end(), by_order)) std::stable_sort(begin, units_.end(), by_order);
    sorted_ = end;
  }

  // In place: a mark joins the last starter unless one of the same or a higher class stands between them.
  void compose_units() {
    size_t n = 0, starter = SIZE_MAX;
    int last_order = -1;  // of what stands between; -1: nothing
    for (size_t i = 0; i < units_.size(); ++i) {
      const Unit unit = units_[i];
      if (starter != SIZE_MAX && last_order < unit.order) {
        if (const char32_t composed = compose(units_[starter].c, unit.c)) {
          units_[starter].c = composed;
          units_[starter].change += unit.change - 1;
          continue;
        }
      }
      if (unit.order == 0) {
        starter = n;
        last_order = -1;
      } else if (starter != SIZE_MAX) {
        last_order = unit.order;
      }
      units_[n++] = unit;
    }
    units_.resize(n);
  }

  void write(size_t end) {
    std::string encoded;
    for (const Unit& unit : units_) {
      encoded.clear();
      append_utf8(encoded, unit.c);
      if (unit.change > 0) {
        text_.insert(encoded);
        continue;
      }
      size_t taken = 0;
      for (int32_t n = 0; n >= unit.change && text_.position() + taken < end; --n) {
        taken += decode_utf8(source_, text_.position() + taken).length;
      }
      if (taken > 0) {
        text_.replace(taken, encoded);
      } else {
        text_.insert(encoded);
      }
    }
    text_.skip(end - text_.position());
    sorted_ = 0;
  }

  NormalizedText& text_;
  const std::string_view source_;
  const Decomposition kind_;
  const bool composes_;
  char32_t parts_[kMaxDecomposed] = {};
  size_t n_parts_ = 0;
  std::vector<Unit> units_;
  size_t sorted_ = 0;  // units before this one are in their order
};

}  // namespace

void write_normal_form(NormalForm form, NormalizedText& text) { Normalizing(form, text).run(); }

}  // namespace nanochat
