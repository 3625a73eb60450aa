#!/usr/bin/env python3
"""Loads tokenizer.json files that the library wrote with PyPI's `tokenizers` and compares ids with known vectors.

usage: check_written_tokenizer.py SAMPLES_JSON_ZST WRITTEN_JSON=VECTORS_JSON_ZST ...

The vectors are those of make_tokenizer_vectors.py. Prints one line a file, exits 1 on a difference.
"""

import json
import subprocess
import sys

from tokenizers import Tokenizer


def read(path):
    return json.loads(subprocess.run(["zstd", "-dqc", path], stdout=subprocess.PIPE, check=True).stdout)


def main():
    texts = read(sys.argv[1])
    failed = False
    for argument in sys.argv[2:]:
        written, vectors = argument.split("=")
        expected = read(vectors)
        tokenizer = Tokenizer.from_file(written)
        tokenizer.encode_special_tokens = True
        bad = [text for text, ids in zip(texts, expected["plain"]) if tokenizer.encode(text, add_special_tokens=False).ids != ids]
        tokenizer.encode_special_tokens = False
        bad += [text for text, ids, *_ in expected["special"] if tokenizer.encode(text).ids != ids]
        bad += [text for text, ids, _, decoded, skipped in expected["special"]
                if tokenizer.decode(ids, skip_special_tokens=False) != decoded or tokenizer.decode(ids) != skipped]
        print(written, "vocabulary", tokenizer.get_vocab_size(), "differences", len(bad), repr(bad[:3]))
        failed = failed or bool(bad)
    sys.exit(failed)


main()
