#!/usr/bin/env python3
"""Trains a tokenizer with the program and checks every form it is saved in against the libraries of others.

usage: check_trained_tokenizer.py PROGRAM CORPUS TEXT     (needs: pip install tokenizers tiktoken safetensors numpy)

CORPUS is what `nanochat tokenizer train --input` takes; TEXT, a UTF-8 file, is encoded by the program, by tokenizers
with tokenizer.json, and by tiktoken with the rank file: all ids must be equal, for each of its lines and as a whole.
token_bytes must be the lengths of the ranks' tokens, 0 for the special ones.
"""
import base64
import json
import pathlib
import subprocess
import sys
import tempfile

import tiktoken
import tokenizers
from safetensors.numpy import load_file

PATTERNS = {
    "nanochat": (r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|"""
                 r"""\s*[\r\n]|\s+(?!\S)|\s+"""),
    "gpt2": r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s""",
    "cl100k": (r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|"""
               r"""\s++$|\s*[\r\n]|\s+(?!\S)|\s"""),
}


def main():
    program, corpus, text_path = sys.argv[1:4]
    text = pathlib.Path(text_path).read_text(encoding="utf-8")
    parts = [text] + text.split("\n")[:300]
    failures = 0
    for name, pattern in PATTERNS.items():
        with tempfile.TemporaryDirectory() as folder:
            path = {form: f"{folder}/t.{form}" for form in ("json", "tiktoken", "safetensors")}
            subprocess.run([program, "tokenizer", "train", "--input", corpus, "--vocab-size", "3000", "--pattern", name,
                            "--output", path["json"], "--ranks", path["tiktoken"], "--token-bytes",
                            path["safetensors"], "--no-progress"], check=True)
            hugging_face = tokenizers.Tokenizer.from_file(path["json"])
            ranks = {}
            for line in pathlib.Path(path["tiktoken"]).read_text(encoding="ascii").splitlines():
                token, rank = line.split()
                ranks[base64.b64decode(token)] = int(rank)
            encoding = tiktoken.Encoding(name, pat_str=pattern, mergeable_ranks=ranks, special_tokens={})
            n_ids = 0
            for part in parts:
                run = subprocess.run([program, "tokenizer", "encode", "--tokenizer", path["json"]],
                                     input=part.encode(), capture_output=True, check=True) if part is text else None
                theirs = encoding.encode_ordinary(part)
                if run is not None and json.loads(run.stdout) != theirs:
                    failures += 1
                    print(f"{name}: the program and tiktoken differ")
                if hugging_face.encode(part, add_special_tokens=False).ids != theirs:
                    failures += 1
                    print(f"{name}: tokenizers and tiktoken differ on {part[:80]!r}")
                n_ids += len(theirs)
            lengths = load_file(path["safetensors"])["token_bytes"]
            expected = [0] * hugging_face.get_vocab_size()
            for token, rank in ranks.items():
                expected[rank] = len(token)
            if lengths.dtype != "int32" or lengths.tolist() != expected:
                failures += 1
                print(f"{name}: token_bytes differ")
            print(f"{name}: {len(ranks)} ranks, {n_ids} ids compared")
    sys.exit(1 if failures else 0)


if __name__ == "__main__":
    main()
