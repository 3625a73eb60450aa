#!/usr/bin/env python3
"""Makes the sample texts of the tokenizer tests and what Python's `regex` package says about them.

usage: make_split_vectors.py GOLDEN_ENCODE_JSON BLNS_TXT UDHR2_ZIP OUT_DIR

Needs the PyPI package `regex` and the zstd program. Writes into OUT_DIR
  samples.json.zst         list of texts
  splits.json.zst          pattern name -> for each text, the piece lengths in bytes
  char_classes.json.zst    [[first, last, bits], ...]: classes of all code points, bits as below
Code points that are not in Unicode 14, or changed since, are left out of the classes.
"""

import json
import random
import subprocess
import sys
import unicodedata
import zipfile

import regex

PATTERNS = {
    "nanochat": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|\s*[\r\n]|\s+(?!\S)|\s+""",
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k": r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s""",
    "o200k": "|".join([
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?""",
        r"""\p{N}{1,3}""",
        r""" ?[^\s\p{L}\p{N}]+[\r\n/]*""",
        r"""\s*[\r\n]+""",
        r"""\s+(?!\S)""",
        r"""\s+""",
    ]),
    "gpt2_plain": r"""'s|'t|'re|'ve|'m|'ll|'d| ?\p{L}+| ?\p{N}+| ?[^\s\p{L}\p{N}]+|\s+(?!\S)|\s+""",
    "llama3": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
    "qwen2": r"""(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\r\n\p{L}\p{N}]?\p{L}+|\p{N}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+""",
}

# Bits of src/tokenizer/unicode_classes.h.
CLASSES = [(1, r"\p{L}"), (2, r"\p{N}"), (4, r"\s"), (8, r"\p{M}"), (16, r"[\p{Lu}\p{Lt}]"), (32, r"\p{Ll}"),
           (64, r"[\p{Lm}\p{Lo}]"), (128, r"[\r\n]"), (256, r"[\p{P}$+<=>^`|~]"), (512, r"\w")]

TRICKY = list(" \t\r\n\v\f\x85\xa0\u1680\u2003\u2028\u2029\u202f\u3000\u200b\u2060\ufeff\x1c\x00") + list(
    "aZzßéÉſKſǅʰªºßИияשعगि中文カーนำ한𝒜𐐀𐐨") + list("0९٣²½Ⅷ一𝟘") + list("'’`\"!?./\\-_#$€©§°+<=>^|~(") + list(
    "\u0301\u0308\u20dd\u093f\u0e33\ufe0f\u200d👍🏽🇩😀\U000e0067\ufffd\ue000\u0378")
CONTRACTIONS = ["'s", "'S", "'ſ", "'t", "'T", "'re", "'Re", "'RE", "'ve", "'vE", "'m", "'M", "'ll", "'lL", "'d", "'D",
                "'l", "'r", "'v", "'x", "''s", "'ss", "'ſt", "'rE's"]
CODE = ["def f(x):\n    return x**2  # square\n\n\nclass A:\n\tpass\n", "for (int i=0;i<10;++i) {\r\n\t\ta[i] += 3.14159e-10;\r\n}\r\n",
        "https://example.org/a/b?c=d&e=%20f#g//h", "<div class=\"x\">\n  <p>Hello</p>\n</div>", "2024-11-21T10:26:00Z 1,234,567.89 0x7fFF",
        "CamelCaseHTTPServerXMLHttpRequest snake_case SCREAMING_CASE iPhone's McDonald'S", "      \n    \n  \n x  \n\n", "a" * 300, " " * 300 + "x",
        "=" * 120 + "\n" + "-" * 77, "\n" * 50, "ab" * 100, "!?" * 60 + "\n\n\n/ /\n", "x\u0301" * 20, "\u0301" * 7, "ΑΒΓαβγ", "'" * 9]


def samples(golden_path, blns_path, udhr_path):
    texts = [sample["text"] for sample in json.load(open(golden_path))]
    blns = open(blns_path, "rb").read().decode("utf-8", "replace").split("\n")
    texts += [line for line in blns if line and not line.startswith("#")]
    with zipfile.ZipFile(udhr_path) as archive:
        for name in sorted(archive.namelist()):
            if not name.endswith(".txt"):
                continue
            text = archive.read(name).decode("utf-8", "replace")
            texts.append(text[1500:1500 + 120])
    texts += CODE + CONTRACTIONS
    rng = random.Random(20)
    for _ in range(2200):
        kind = rng.random()
        length = rng.randint(1, 14)
        if kind < 0.35:  # few kinds, so that runs appear
            letters = rng.sample(TRICKY, 4)
        else:
            letters = TRICKY
        parts = [rng.choice(letters) for _ in range(length)]
        for _ in range(rng.randint(0, 2)):
            parts.insert(rng.randint(0, len(parts)), rng.choice(CONTRACTIONS + [" ", " ", "\n", "  ", "12345", "ABCdef"]))
        texts.append("".join(parts))
    return list(dict.fromkeys(texts))


def char_classes():
    found = {}
    matchers = [(bit, regex.compile(pattern)) for bit, pattern in CLASSES]
    category = regex.compile("|".join(r"(?P<%s>\p{%s})" % (c, c) for c in
        "Lu Ll Lt Lm Lo Mn Mc Me Nd Nl No Pc Pd Ps Pe Pi Pf Po Sm Sc Sk So Zs Zl Zp Cc Cf Co Cn".split()))
    for code in range(0x110000):
        if 0xD800 <= code < 0xE000:
            continue
        c = chr(code)
        if category.match(c).lastgroup != unicodedata.category(c):
            continue
        found[code] = sum(bit for bit, matcher in matchers if matcher.match(c))
    ranges = []
    for code, bits in found.items():
        if ranges and ranges[-1][1] == code - 1 and ranges[-1][2] == bits:
            ranges[-1][1] = code
        else:
            ranges.append([code, code, bits])
    return ranges


def write(path, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    packed = subprocess.run(["zstd", "-q", "-19", "--ultra", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
    with open(path, "wb") as out:
        out.write(packed)
    print(path, len(text), "->", len(packed))


def main():
    golden_path, blns_path, udhr_path, out = sys.argv[1:]
    texts = samples(golden_path, blns_path, udhr_path)
    splits = {}
    for name, pattern in PATTERNS.items():
        compiled = regex.compile(pattern)
        splits[name] = []
        for text in texts:
            pieces = [match.group() for match in compiled.finditer(text)]
            assert "".join(pieces) == text, (name, text)
            splits[name].append([len(piece.encode("utf-8")) for piece in pieces])
    print(len(texts), "texts")
    write(out + "/samples.json.zst", texts)
    write(out + "/splits.json.zst", splits)
    write(out + "/char_classes.json.zst", char_classes())


main()
