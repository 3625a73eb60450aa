#include "tokenizer/regex_class.h"

#include <algorithm>
#include <utility>

#include "base/error.h"
#include "tokenizer/character_tables.h"

namespace nanochat {

namespace {

constexpr std::string_view kSpaces =
    "\\x{9}-\\x{d}\\x{20}\\x{85}\\x{a0}\\x{1680}\\x{2000}-\\x{200a}\\x{2028}\\x{2029}\\x{202f}\\x{205f}\\x{"
    "3000}";
constexpr std::string_view kNotSpaces =
    "\\x{0}-\\x{8}\\x{e}-\\x{1f}\\x{21}-\\x{84}\\x{86}-\\x{9f}\\x{a1}-\\x{167f}\\x{1681}-\\x{1fff}\\x{200b}-"
    "\\x{2027}"
    "\\x{202a}-\\x{202e}\\x{2030}-\\x{205e}\\x{2060}-\\x{2fff}\\x{3001}-\\x{10ffff}";
constexpr std::string_view kLetterLikeSymbols =
    "\\x{24b6}-\\x{24e9}\\x{1f130}-\\x{1f149}\\x{1f150}-\\x{1f169}\\x{1f170}-\\x{1f189}";

// \p{category} with the characters of later Unicode. One letter stands for all categories that begin with it.
std::string category_body(std::string_view category) {
  std::string body = "\\p{" + std::string(category) + "}";
  for (const LaterCharacters& later : later_characters()) {
    if (std::string_view(later.category).substr(0, category.size()) != category) continue;
    body += regex_codepoint(later.first);
    if (later.last != later.first) body += "-" + regex_codepoint(later.last);
  }
  return body;
}

std::string bodies(std::initializer_list<std::string_view> categories) {
  std::string body;
  for (const std::string_view category : categories) body += category_body(category);
  return body;
}

std::string word_body() { return bodies({"L", "M", "Nd", "Nl", "Pc"}).append(kLetterLikeSymbols); }

RegexClass any_of(std::string body) {
  RegexClass found;
  found.body = std::move(body);
  return found;
}

RegexClass none_of(std::string body) {
  RegexClass found = any_of(std::move(body));
  found.negated = true;
  return found;
}

struct LongName {
  std::string_view name, category;
};
constexpr LongName kLongNames[] = {
    {"letter", "L"},
    {"uppercaseletter", "Lu"},
    {"lowercaseletter", "Ll"},
    {"titlecaseletter", "Lt"},
    {"modifierletter", "Lm"},
    {"otherletter", "Lo"},
    {"mark", "M"},
    {"nonspacingmark", "Mn"},
    {"spacingmark", "Mc"},
    {"enclosingmark", "Me"},
    {"number", "N"},
    {"decimalnumber", "Nd"},
    {"letternumber", "Nl"},
    {"othernumber", "No"},
    {"punctuation", "P"},
    {"connectorpunctuation", "Pc"},
    {"dashpunctuation", "Pd"},
    {"openpunctuation", "Ps"},
    {"closepunctuation", "Pe"},
    {"initialpunctuation", "Pi"},
    {"finalpunctuation", "Pf"},
    {"otherpunctuation", "Po"},
    {"symbol", "S"},
    {"mathsymbol", "Sm"},
    {"currencysymbol", "Sc"},
    {"modifiersymbol", "Sk"},
    {"othersymbol", "So"},
    {"separator", "Z"},
    {"spaceseparator", "Zs"},
    {"lineseparator", "Zl"},
    {"paragraphseparator", "Zp"},
};
constexpr std::string_view kCategories[] = {
    "L",  "Lu", "Ll", "Lt", "Lm", "Lo", "M",  "Mn", "Mc", "Me", "N", "Nd", "Nl", "No", "P",  "Pc", "Pd",
    "Ps", "Pe", "Pi", "Pf", "Po", "S",  "Sm", "Sc", "Sk", "So", "Z", "Zs", "Zl", "Zp", "Cc", "Cf", "Co"};

// With their characters of Unicode 15 and 16. Without "sc:" PCRE2 takes a script's punctuation for it.
struct Script {
  std::string_view name;
  const char* later;
};
constexpr Script kScripts[] = {
    {"Han", "\\x{2b739}\\x{2ebf0}-\\x{2ee5d}\\x{31350}-\\x{323af}"},
    {"Hiragana", "\\x{1b132}"},
    {"Katakana", "\\x{1b155}"},
    {"Hangul", ""},
    {"Bopomofo", ""},
    {"Latin", "\\x{a7cb}-\\x{a7cd}\\x{a7da}-\\x{a7dc}\\x{1df25}-\\x{1df2a}"},
    {"Cyrillic", "\\x{1c89}\\x{1c8a}\\x{1e030}-\\x{1e06d}\\x{1e08f}"},
    {"Greek", ""},
    {"Arabic", "\\x{897}\\x{10ec2}-\\x{10ec4}\\x{10efc}-\\x{10eff}"},
    {"Hebrew", ""},
    {"Thai", ""},
    {"Devanagari", "\\x{11b00}-\\x{11b09}"},
};

std::string plain_name(std::string_view name) {
  std::string plain;
  for (const char c : name) {
    if (c == ' ' || c == '_' || c == '-') continue;
    plain += c >= 'A' && c <= 'Z' ? static_cast<char>(c - 'A' + 'a') : c;
  }
  return plain;
}

}  // namespace

std::string regex_codepoint(char32_t c) {
  constexpr char kDigits[] = "0123456789abcdef";
  std::string digits;
  do {
    digits.insert(digits.begin(), kDigits[c & 15]);
    c >>= 4;
  } while (c != 0);
  return "\\x{" + digits + "}";
}

std::string RegexClass::text() const {
  if (kind == Kind::of_any && members.empty()) return (negated ? "[^" : "[") + body + "]";
  std::string inner;
  if (kind == Kind::of_any) {
    inner = body.empty() ? "" : "[" + body + "]";
    for (const RegexClass& member : members) inner += (inner.empty() ? "" : "|") + member.text();
  } else {
    for (size_t i = 0; i + 1 < members.size(); ++i) inner += "(?=" + members[i].text() + ")";
    inner += members.back().text();
  }
  return negated ? "(?:(?!" + inner + ")(?s:.))" : "(?:" + inner + ")";
}

bool regex_class_of_letter(char letter, RegexPlace place, RegexClass& found) {
  constexpr std::string_view kHex = "0-9A-Fa-f";
  std::string word;
  if (letter == 'w' || letter == 'W') {
    word = word_body();
    if (place == RegexPlace::outside) word += "\\x{b2}\\x{b3}\\x{b9}\\x{bc}-\\x{be}";
  }
  switch (letter) {
    case 'w':
      found = any_of(std::move(word));
      return true;
    case 'W':
      found = none_of(std::move(word));
      return true;
    case 's':
      found = any_of(std::string(kSpaces));
      return true;
    case 'S':
      found = any_of(std::string(kNotSpaces));
      return true;
    case 'd':
      found = any_of(category_body("Nd"));
      return true;
    case 'D':
      found = none_of(category_body("Nd"));
      return true;
    case 'h':
      found = any_of(std::string(kHex));
      return true;
    case 'H':
      found = none_of(std::string(kHex));
      return true;
    default:
      return false;
  }
}

bool regex_class_of_property(std::string_view name, RegexClass& found) {
  const bool negated = !name.empty() && name[0] == '^';
  const std::string plain = plain_name(negated ? name.substr(1) : name);
  found = RegexClass();
  for (const LongName& known : kLongNames) {
    if (known.name == plain) found.body = category_body(known.category);
  }
  for (const std::string_view category : kCategories) {
    if (plain_name(category) == plain) found.body = category_body(category);
  }
  for (const Script& script : kScripts) {
    if (plain_name(script.name) == plain)
      found.body = "\\p{sc:" + std::string(script.name) + "}" + script.later;
  }
  if (plain == "any") found.body = "\\x{0}-\\x{10ffff}";
  if (plain == "punct") found.body = category_body("P");
  if (plain == "space" || plain == "whitespace") found.body = kSpaces;
  if (plain == "c" || plain == "other") found = none_of(bodies({"L", "M", "N", "P", "S", "Z"}));
  // \p{Word} is now [[:word:]] and now \w in the library.
  if (found.body.empty() && (plain == "word" || !regex_class_of_posix(plain, found))) return false;
  found.negated = found.negated != negated;
  return true;
}

bool regex_class_of_posix(std::string_view name, RegexClass& found) {
  found = RegexClass();
  if (name == "space") found.body = kSpaces;
  if (name == "digit") found.body = category_body("Nd");
  if (name == "punct") found.body = bodies({"P", "S"});
  if (name == "word") found.body = word_body();
  if (name == "xdigit") found.body = "0-9A-Fa-f";
  if (name == "cntrl") found.body = "\\x{0}-\\x{1f}\\x{7f}-\\x{9f}";
  if (name == "blank") found.body = "\\x{9}" + category_body("Zs");
  if (name == "ascii") found.body = "\\x{0}-\\x{7f}";
  return !found.body.empty();
}

}  // namespace nanochat
