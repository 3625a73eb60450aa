#!/usr/bin/env python3
"""Writes the seed files of tests/fuzz/corpus/normalizer: a charsmap or a pattern, a line feed, a text.

usage: make_normalizer_corpus.py tests/fuzz/corpus/normalizer
"""

import base64
import pathlib
import sys

from make_normalizer_vectors import charsmap

TEXT = "a e\u0301 ﬁ x é 각\u1100\u1161 ñ A\u0323\u0301 中文 İ".encode("utf-8")
PATTERNS = [r"\s+", r"(?i:'s|'t)|\p{L}+(?!x)", r"[^\r\n\p{L}&&[^\p{Han}]]{1,3}+|\w\b", r"x*", r"(?<n>a|b)\k<n>|.+?$", r"[[:punct:][a-c]]"]

folder = pathlib.Path(sys.argv[1])
folder.mkdir(parents=True, exist_ok=True)
table = base64.b64decode(charsmap({"a": "b", "e\u0301": "é", "ﬁ": "fi", "\t": " ", "x": ""}))
assert b"\n" not in table
(folder / "charsmap").write_bytes(table + b"\n" + TEXT + b"\xff\xe2\x82")
for i, pattern in enumerate(PATTERNS):
    (folder / f"regex_{i}").write_bytes(pattern.encode() + b"\n" + TEXT + b"\xff don't 123, aabb\n")
marks = "\u0344\u0f73\u0301a\u0323\u0307 \u0b47\u0b3e ﷺ ṩ q\u0307\u0323 \U00011935\U00011930"
(folder / "marks").write_bytes(marks.encode("utf-8") + b"\xf0\x9f")
