#!/usr/bin/env python3
"""What Hugging Face's BpeTrainer makes of the corpora of the tests: tests/data/tokenizers/trained.json.

usage: make_training_vectors.py REPOSITORY     (needs: pip install tokenizers)

Its rule for ties is another one: by its own ids, which follow the characters that stand for the bytes. So the
test compares sets of tokens, up to each merge count where both have made all tokens of that count and more. The
script keeps only those prefixes; merges are written as hexadecimal tokens.
"""
import json
import pathlib
import sys

from tokenizers import Regex, Tokenizer, models, pre_tokenizers, trainers

NANOCHAT = (r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}+|\p{N}{1,2}| ?[^\s\p{L}\p{N}]++[\r\n]*|"""
            r"""\s*[\r\n]|\s+(?!\S)|\s+""")


def byte_of_character():
    printable = [*range(33, 127), *range(161, 173), *range(174, 256)]
    others = [b for b in range(256) if b not in printable]
    return {**{chr(b): b for b in printable}, **{chr(256 + i): b for i, b in enumerate(others)}}


def train(documents, n_merges):
    tokenizer = Tokenizer(models.BPE())
    tokenizer.pre_tokenizer = pre_tokenizers.Sequence([
        pre_tokenizers.Split(Regex(NANOCHAT), "isolated"),
        pre_tokenizers.ByteLevel(add_prefix_space=False, use_regex=False)])
    trainer = trainers.BpeTrainer(vocab_size=256 + n_merges, show_progress=False, special_tokens=[],
                                  initial_alphabet=pre_tokenizers.ByteLevel.alphabet())
    tokenizer.train_from_iterator(documents, trainer)
    model = json.loads(tokenizer.to_str())["model"]
    to_byte = byte_of_character()
    return ["".join(f"{to_byte[c]:02x}" for c in "".join(merge)) for merge in model["merges"]]


def main():
    data = pathlib.Path(sys.argv[1]) / "tests/data"
    corpora = data / "golden/tokenizer/corpus"
    vectors = {}
    text = (corpora / "tinyshakespeare.txt").read_text(encoding="utf-8")
    vectors["tinyshakespeare"] = train([text], 1500)
    lines = (corpora / "mixed.jsonl").read_text(encoding="utf-8").splitlines()
    vectors["mixed"] = train([json.loads(line) for line in lines if line], 600)
    with open(data / "tokenizers/trained.json", "w", encoding="ascii") as out:
        json.dump(vectors, out, indent=0)
        out.write("\n")


if __name__ == "__main__":
    main()
