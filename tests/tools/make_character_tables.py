#!/usr/bin/env python3
"""Writes src/tokenizer/character_tables.cc: where PyPI's `tokenizers` and the C libraries used here see characters
differently, because each part of that library is of another version of Unicode. Found by asking about every code point.

usage: make_character_tables.py src/tokenizer/character_tables.cc

Needs PyPI `tokenizers`, libutf8proc 2.8 (Unicode 15) and a Python whose unicodedata is of Unicode 14, as PCRE2 10.42 is.
"""

import ctypes
import sys
import unicodedata

from tokenizers import Regex, normalizers, pre_tokenizers

assert unicodedata.unidata_version == "14.0.0"
UTF8PROC = ctypes.CDLL("libutf8proc.so.2")
UTF8PROC.utf8proc_category_string.restype = ctypes.c_char_p
LIBC = ctypes.CDLL(None)
CODEPOINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
CATEGORY = {c: UTF8PROC.utf8proc_category_string(c).decode() for c in CODEPOINTS}
STABLE, COMPAT, DECOMPOSE = 2, 4, 16


def mapped(text, options):
    data, out = text.encode("utf-8"), ctypes.POINTER(ctypes.c_char)()
    size = UTF8PROC.utf8proc_map(data, len(data), ctypes.byref(out), options)
    result = ctypes.string_at(out, size).decode("utf-8")
    LIBC.free(out)
    return result


def ranges(wanted, may_include=frozenset()):
    """The wanted code points as few ranges, which may hold others of may_include."""
    out = []
    for c in sorted(wanted):
        if out and all(gap in may_include for gap in range(out[-1][1] + 1, c)):
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def normalized(normalizer):
    return {c: normalizer.normalize_str(chr(c)) for c in CODEPOINTS}


def alone(pre_tokenizer):
    """Those that are cut out between two letters."""
    return {c for c in CODEPOINTS if len(pre_tokenizer.pre_tokenize_str("x" + chr(c) + "x")) == 3}


def write_set(out, name, comment, items):
    out.append(f"// {comment}\nconstexpr CodepointRange {name}[] = {{")
    out.append(", ".join(f"{{0x{a:x}, 0x{b:x}}}" for a, b in items) + "};\n")


def main():
    everything = set(CODEPOINTS)
    nfd = normalized(normalizers.NFD())
    nfkd = normalized(normalizers.NFKD())
    bert = normalized(normalizers.BertNormalizer(False, False, True, False))
    accents = normalized(normalizers.StripAccents())
    lower = normalized(normalizers.Lowercase())
    nonspacing = {c for c in CODEPOINTS if nfd[c] == chr(c) and bert[c] == ""}
    combining = {c for c in CODEPOINTS if accents[c] == ""}
    punctuation = alone(pre_tokenizers.Punctuation())
    numbers = alone(pre_tokenizers.Digits(True))
    here = lambda letter: {c for c in CODEPOINTS if CATEGORY[c].startswith(letter)}
    symbols = {ord(c) for c in "$+<=>^`|~"}
    whole = {c for c in here("Mn") if nfd[c] == chr(c)}
    out = ["// Made by tests/tools/make_character_tables.py.\n#include \"tokenizer/character_tables.h\"\n\nnamespace nanochat {\n",
           "namespace {\n"]
    write_set(out, "kNotNonspacing", "Mn here, not for the library's BertNormalizer (Unicode 8).",
              ranges(whole - nonspacing, everything - nonspacing))
    assert nonspacing - whole == {0x1734}
    write_set(out, "kNotCombining", "M here, not for the library's normal forms and StripAccents (Unicode 9).",
              ranges(here("M") - combining, everything - combining))
    assert combining - here("M") == {0x1CF2, 0x1CF3}
    write_set(out, "kNotPunctuation", "P here, not for the library (Unicode 8).",
              ranges(here("P") - punctuation, everything - punctuation))
    assert punctuation - here("P") - symbols == {0x166D, 0x111C9}
    write_set(out, "kLaterNumbers", "Numbers of Unicode 16 and 17.", ranges(numbers - here("N")))
    assert not here("N") - numbers
    write_set(out, "kNotDecomposed", "Decompositions that the library's normal forms (Unicode 9) do not have.",
              ranges({c for c in CODEPOINTS if mapped(chr(c), STABLE | COMPAT | DECOMPOSE) != nfkd[c] and c > 0}))
    out.append("// First and last upper-case letter, and the first one's lower case: Unicode 16 and 17.")
    out.append("constexpr LaterCase kLaterCases[] = {")
    cases = []
    for c in CODEPOINTS:
        mine = UTF8PROC.utf8proc_tolower(c)
        if chr(mine) == lower[c] or c == 0x130:
            continue
        to = ord(lower[c])
        if cases and c == cases[-1][1] + 1 and to - c == cases[-1][2] - cases[-1][0]:
            cases[-1][1] = c
        else:
            cases.append([c, c, to])
    out.append(", ".join("{0x%x, 0x%x, 0x%x}" % tuple(case) for case in cases) + "};\n")
    text = "".join(map(chr, CODEPOINTS))
    later = {}
    for category in "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cf".split():
        split = pre_tokenizers.Split(Regex(r"\p{%s}" % category), "removed", invert=True)
        found = {ord(c) for piece, _ in split.pre_tokenize_str(text) for c in piece}
        for c in found:
            if unicodedata.category(chr(c)) != category:
                later[c] = category
    rows = []
    for c in sorted(later):
        if rows and rows[-1][1] == c - 1 and rows[-1][2] == later[c]:
            rows[-1][1] = c
        else:
            rows.append([c, c, later[c]])
    out.append("// Characters of Unicode 15 and 16 with their categories.\nconstexpr LaterCharacters kLaterCharacters[] = {")
    out.append(", ".join('{0x%x, 0x%x, "%s"}' % tuple(row) for row in rows) + "};\n")
    out.append("}  // namespace\n")
    for name in ["NotNonspacing", "NotCombining", "NotPunctuation", "LaterNumbers", "NotDecomposed"]:
        words = "".join("_" + c.lower() if c.isupper() else c for c in name)[1:]
        out.append(f"std::span<const CodepointRange> {words}() {{ return k{name}; }}")
    out.append("std::span<const LaterCase> later_cases() { return kLaterCases; }")
    out.append("std::span<const LaterCharacters> later_characters() { return kLaterCharacters; }")
    out.append("\n}  // namespace nanochat")
    with open(sys.argv[1], "w") as file:
        file.write("\n".join(out) + "\n")


main()
