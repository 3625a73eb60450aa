#!/usr/bin/env python3
"""Packs the test_parsing folder of JSONTestSuite (github.com/nst/JSONTestSuite, MIT) into one text file.

One line per document: file name, tab, bytes. Printable ASCII but the backslash stands for itself, every other
byte is \\xHH. The two documents of more than 10 kB repeat one piece; the test builds them itself.

usage: pack_json_test_suite.py JSONTestSuite/test_parsing > tests/data/json/json_test_suite.txt
"""
import pathlib
import sys


def escape(data):
    return "".join(chr(b) if 0x20 <= b < 0x7F and b != 0x5C else f"\\x{b:02x}" for b in data)


for path in sorted(pathlib.Path(sys.argv[1]).glob("*.json")):
    data = path.read_bytes()
    if len(data) <= 10000:
        print(f"{path.name}\t{escape(data)}")
