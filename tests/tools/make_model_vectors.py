#!/usr/bin/env python3
"""Makes what PyPI's `sentencepiece` and `tokenizers` do with vocabulary files and with batches of texts.

usage: make_model_vectors.py TESTS_DATA_TOKENIZERS

Reads samples.json.zst and files/ there and writes
  ids/t5.model.json.zst, ids/toy.model.json.zst, ids/bpe.model.json.zst: {"plain": ids of each sample, "decoded": their
      texts}; the last of a small BPE model with byte fallback, trained here: files/bpe.model.zst
  batches.json.zst: {"texts", "cases": [{"truncation", "padding", "rows": [[ids, mask, offsets in bytes], ...]}]} with
      files/bert-base-uncased.tokenizer.json.zst
Needs PyPI `sentencepiece`, `tokenizers` and the zstd program.
"""

import json
import pathlib
import subprocess
import sys
import tempfile

import sentencepiece
from tokenizers import Tokenizer

MORE_TEXTS = ["", " ", "   ", " a", "a ", "  a  b  ", "\u2581", "\u2581\u2581a\u2581", "a\u2581 ", "\u3000a\u3000\u3000b", "\t\n a\r\n b", "<s>a</s>", "<unk>",
              "\ufb01ne \u2460 \u00bd", "e\u0301cole \u1e9b\u0323", "\u0000x", "\u200bzero\u200b width", "x" * 300, "ab" * 500, "\U0001f468\u200d\U0001f469\u200d\U0001f467 \U0001f1e9\U0001f1ea",
              "\uac00\u1100\u1161", "\u0e33\u0e32", "\uff76\uff9e \uff71", "... !!! ???", "1234567890 " * 9]
BATCH = ["", "Hello world", "A longer text with some more words in it.", "caf\u00e9 na\u00efve \u4e2d\u6587", "one"]
BATCH_CASES = [
    (None, None), (dict(max_length=5), None), (dict(max_length=5, direction="left"), None), (dict(max_length=2), None),
    (None, dict()), (None, dict(direction="left", pad_id=7)), (None, dict(length=12)), (None, dict(pad_to_multiple_of=8)),
    (dict(max_length=6), dict(length=6)), (dict(max_length=4), dict(length=6, pad_to_multiple_of=4, direction="left"))]


def read(path):
    return subprocess.run(["zstd", "-dqc", path], stdout=subprocess.PIPE, check=True).stdout


def pack(path, data):
    packed = subprocess.run(["zstd", "-q", "-19", "--ultra", "-c"], input=data, stdout=subprocess.PIPE, check=True).stdout
    path.write_bytes(packed)
    print(path, len(data), "->", len(packed))


def write(path, value):
    pack(path, json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8"))


def sentence_piece(data, texts):
    processor = sentencepiece.SentencePieceProcessor()
    processor.LoadFromSerializedProto(data)
    ids = [processor.encode(text) for text in texts]
    return {"texts": MORE_TEXTS, "plain": ids, "decoded": [processor.decode(row) for row in ids]}


def train_bpe(folder, texts):
    with tempfile.TemporaryDirectory() as temporary:
        source = pathlib.Path(temporary) / "texts"
        source.write_text("\n".join(text.replace("\n", " ") for text in texts if "\0" not in text), encoding="utf-8")
        sentencepiece.SentencePieceTrainer.train(
            input=str(source), model_prefix=temporary + "/bpe", vocab_size=2000, model_type="bpe", byte_fallback=True,
            character_coverage=0.98, normalization_rule_name="identity", remove_extra_whitespaces=False, minloglevel=2)
        data = (pathlib.Path(temporary) / "bpe.model").read_bytes()
    pack(folder / "files" / "bpe.model.zst", data)
    return data


def batches(folder):
    rows = []
    for truncation, padding in BATCH_CASES:
        tokenizer = Tokenizer.from_str(read(folder / "files" / "bert-base-uncased.tokenizer.json.zst").decode("utf-8"))
        if truncation:
            tokenizer.enable_truncation(**truncation)
        if padding is not None:
            tokenizer.enable_padding(**padding)
        state = json.loads(tokenizer.to_str())
        case = {"truncation": state["truncation"], "padding": state["padding"], "rows": []}
        for text, encoding in zip(BATCH, tokenizer.encode_batch(BATCH)):
            places = [0]
            for c in text:
                places.append(places[-1] + len(c.encode("utf-8")))
            case["rows"].append([encoding.ids, encoding.attention_mask,
                                 [places[i] for pair in encoding.offsets for i in pair]])
        rows.append(case)
    return {"texts": BATCH, "cases": rows}


def main():
    folder = pathlib.Path(sys.argv[1])
    samples = json.loads(read(folder / "samples.json.zst"))
    texts = samples + MORE_TEXTS
    for name in ("t5", "toy"):
        write(folder / "ids" / (name + ".model.json.zst"), sentence_piece(read(folder / "files" / (name + ".model.zst")), texts))
    write(folder / "ids" / "bpe.model.json.zst", sentence_piece(train_bpe(folder, samples), texts))
    write(folder / "batches.json.zst", batches(folder))


main()
