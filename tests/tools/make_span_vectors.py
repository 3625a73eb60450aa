#!/usr/bin/env python3
"""Which bytes of a text PyPI's `tokenizers` says each id stands for.

usage: make_span_vectors.py TESTS_DATA_TOKENIZERS

Reads samples.json.zst, small_pipelines.json.zst and files/*.tokenizer.json.zst there and writes spans.json.zst:
{"files": {name: [[begin, end, begin, end, ...] of each sample]}, "small": {name: [the same of each row]}}. The
library counts characters; here they are bytes. Needs PyPI `tokenizers` and the zstd program.
"""

import json
import pathlib
import subprocess
import sys

from tokenizers import Tokenizer

FILES = ["gpt2", "phi-2", "phi-3", "falcon", "toy-roberta"]


def unpack(path):
    return json.loads(subprocess.run(["zstd", "-dqc", path], stdout=subprocess.PIPE, check=True).stdout)


def byte_spans(tokenizer, text, add):
    places = [0]
    for c in text:
        places.append(places[-1] + len(c.encode("utf-8")))
    encoding = tokenizer.encode(text, add_special_tokens=add)
    return [places[i] for pair in encoding.offsets for i in pair]


def main():
    folder = pathlib.Path(sys.argv[1])
    texts = unpack(folder / "samples.json.zst")
    result = {"files": {}, "small": {}}
    for name in FILES:
        definition = unpack(folder / "files" / (name + ".tokenizer.json.zst"))
        definition["model"].setdefault("type", "BPE")
        tokenizer = Tokenizer.from_str(json.dumps(definition))
        tokenizer.encode_special_tokens = True
        result["files"][name] = [byte_spans(tokenizer, text, False) for text in texts]
    for name, case in unpack(folder / "small_pipelines.json.zst").items():
        tokenizer = Tokenizer.from_str(json.dumps(case["tokenizer"]))
        result["small"][name] = [byte_spans(tokenizer, row[0], True) for row in case["rows"]]
    text = json.dumps(result, separators=(",", ":")).encode("utf-8")
    packed = subprocess.run(["zstd", "-q", "-19", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
    (folder / "spans.json.zst").write_bytes(packed)
    print(len(text), "->", len(packed))


main()
