#define PCRE2_CODE_UNIT_WIDTH 8
#include "tokenizer/regular_expression.h"

#include <algorithm>
#include <new>

#include <pcre2.h>

#include "base/error.h"
#include "base/excerpt.h"
#include "base/utf8.h"
#include "tokenizer/regex_translator.h"

namespace nanochat {

namespace {

constexpr uint32_t kMatchLimit = 50'000'000;  // steps of one match: about a second
constexpr uint32_t kHeapLimitKib = 64 * 1024;
constexpr std::string_view kReplacement = "\xef\xbf\xbd";

pcre2_code* as_code(void* code) { return static_cast<pcre2_code*>(code); }
pcre2_match_data* as_data(void* data) { return static_cast<pcre2_match_data*>(data); }
pcre2_match_context* as_context(void* context) { return static_cast<pcre2_match_context*>(context); }

std::string message_of(int code) {
  PCRE2_UCHAR text[256];
  const int length = pcre2_get_error_message(code, text, sizeof text);
  return length > 0 ? std::string(reinterpret_cast<const char*>(text), static_cast<size_t>(length))
                    : "unknown";
}

pcre2_code* compile(const std::string& pattern, std::string_view shown) {
  pcre2_compile_context* context = pcre2_compile_context_create(nullptr);
  if (!context) throw std::bad_alloc();
  pcre2_set_newline(context, PCRE2_NEWLINE_LF);
  pcre2_set_bsr(context, PCRE2_BSR_UNICODE);
  int error = 0;
  PCRE2_SIZE offset = 0;
  constexpr uint32_t kOptions = PCRE2_UTF | PCRE2_UCP | PCRE2_MULTILINE | PCRE2_NEVER_BACKSLASH_C;
  pcre2_code* code = pcre2_compile(reinterpret_cast<PCRE2_SPTR>(pattern.data()), pattern.size(), kOptions,
                                   &error, &offset, context);
  pcre2_compile_context_free(context);
  if (!code) {
    throw Error(Status::format_unsupported)
        .say("the regular expression '{}', as PCRE2's '{}', byte {}: {}", excerpt(shown, 400),
             excerpt(pattern, 400), offset, message_of(error));
  }
  pcre2_jit_compile(code, PCRE2_JIT_COMPLETE);  // without it matches are slower, no less right
  return code;
}

}  // namespace

RegularExpression::RegularExpression(std::string_view pattern) : pattern_(pattern) {
  code_ = compile(translate_regex(pattern), pattern);
}

RegularExpression::~RegularExpression() { pcre2_code_free(as_code(code_)); }

bool RegularExpression::find(std::string_view text, size_t from, size_t& begin, size_t& end) const {
  RegexSearch search(*this);
  search.start(text);
  return search.find(from, begin, end);
}

RegexSearch::RegexSearch(const RegularExpression& expression) : expression_(expression) {
  data_ = pcre2_match_data_create(1, nullptr);
  context_ = pcre2_match_context_create(nullptr);
  if (!data_ || !context_) {
    pcre2_match_data_free(as_data(data_));
    pcre2_match_context_free(as_context(context_));
    throw std::bad_alloc();
  }
  pcre2_set_match_limit(as_context(context_), kMatchLimit);
  pcre2_set_heap_limit(as_context(context_), kHeapLimitKib);
}

RegexSearch::~RegexSearch() {
  pcre2_match_data_free(as_data(data_));
  pcre2_match_context_free(as_context(context_));
}

// PCRE2 would check the rest of the text again for every match, so it is checked here and never there.
void RegexSearch::start(std::string_view text) {
  text_ = subject_ = text;
  from_ = 0;
  last_end_ = SIZE_MAX;
  replacements_.clear();
  size_t bad = first_invalid_utf8(text);
  if (bad == text.size()) return;
  replaced_.assign(text.substr(0, bad));
  while (bad < text.size()) {
    replacements_.push_back(replaced_.size());
    replaced_ += kReplacement;
    const std::string_view rest = text.substr(bad + 1);
    const size_t good = first_invalid_utf8(rest);
    replaced_ += rest.substr(0, good);
    bad += 1 + good;
  }
  subject_ = replaced_;
}

// A replacement is two bytes longer than what it stands for.
size_t RegexSearch::to_text(size_t place) const {
  const auto before =
      std::lower_bound(replacements_.begin(), replacements_.end(), place) - replacements_.begin();
  return place - 2 * static_cast<size_t>(before);
}

size_t RegexSearch::to_subject(size_t place) const {
  size_t low = 0, high = replacements_.size();  // how many stand before it
  while (low < high) {
    const size_t middle = (low + high) / 2;
    if (replacements_[middle] - 2 * middle < place) {
      low = middle + 1;
    } else {
      high = middle;
    }
  }
  return place + 2 * low;
}

int RegexSearch::match(size_t from, uint32_t options) {
  return pcre2_match(as_code(expression_.code_), reinterpret_cast<PCRE2_SPTR>(subject_.data()),
                     subject_.size(), from, PCRE2_NO_UTF_CHECK | options, as_data(data_),
                     as_context(context_));
}

bool RegexSearch::find(size_t from, size_t& begin, size_t& end) {
  const size_t start = to_subject(from);
  int result = match(start, 0);
  if (result == PCRE2_ERROR_JIT_STACKLIMIT) result = match(start, PCRE2_NO_JIT);
  if (result == PCRE2_ERROR_NOMATCH) return false;
  if (result == PCRE2_ERROR_NOMEMORY) throw std::bad_alloc();
  if (result < 0) {
    throw Error(Status::unsupported)
        .say("the regular expression '{}' at byte {} of a text of {}: {}",
             excerpt(expression_.pattern(), 400), from, text_.size(), message_of(result));
  }
  const PCRE2_SIZE* found = pcre2_get_ovector_pointer(as_data(data_));
  begin = to_text(found[0]);
  end = to_text(found[1]);
  return true;
}

bool RegexSearch::next(size_t& begin, size_t& end) {
  while (from_ <= text_.size() && find(from_, begin, end)) {
    if (begin != end || end != last_end_) {
      from_ = last_end_ = end;
      return true;
    }
    const DecodedCodepoint c =
        from_ < text_.size() ? decode_utf8(text_, from_) : DecodedCodepoint{0, 1, true};
    from_ += c.valid ? c.length : 1;
  }
  return false;
}

}  // namespace nanochat
