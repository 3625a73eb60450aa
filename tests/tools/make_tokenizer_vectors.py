#!/usr/bin/env python3
"""Makes the ids that PyPI's `tokenizers` and `tiktoken` give for the sample texts.

usage: make_tokenizer_vectors.py SAMPLES_JSON_ZST OUT_DIR [--spans] NAME=tokenizer.json ... PATTERN:NAME=ranks.tiktoken ...

PATTERN is r50k, p50k, cl100k or o200k. Needs PyPI `tokenizers`, `tiktoken` and the zstd program. Writes OUT_DIR/NAME.json.zst:
  plain      for each sample: ids, special tokens in the text taken as text, none added
  decoded    for each sample: the text of those ids where it is not the sample itself, else null
  spans      for each sample, with --spans before the names: the bytes of each of those ids, begin, end, begin, end ...
  special    for texts with special tokens: text, ids (specials found and added), ids without added ones,
             text of ids, text of ids without specials
"""

import base64
import json
import subprocess
import sys

import tiktoken
import tiktoken_ext.openai_public as public
from tokenizers import Tokenizer

SPECIAL_TEXTS = ["", " ", "Hello <|endoftext|> world", "<|endoftext|>", "<|endoftext|><|endoftext|> a", "a<s>b</s> c <unk>",
                 "<s> Hello</s>", "<|user|>\nHi<|end|>\n<|assistant|>", "<|endofprompt|>x<|fim_prefix|>", "<|startoftranscript|><|en|> hi<|0.02|>",
                 ">>TITLE<< What\n>>QUESTION<<>>SUFFIX<<", "x\t\t\t\ty        z", "<|endoftext", "<|<|endoftext|>|>", "\u2581a \u2581 b", "  <s>  ", "<pad><mask>",
                 "<0x41>", "\u0120a", "caf\u00e9<|endoftext|>\U0001f600"]
BERT_TEXTS = ["[CLS] a [SEP] b[MASK]c [PAD]", "[cls] [Cls]", "x [MASK].", "[MASK][MASK]", "Don't , do not . stop !", "\u00c9cole [UNK]\u4e2d\u6587"]


def read(path):
    if path.endswith(".zst"):
        return subprocess.run(["zstd", "-dqc", path], stdout=subprocess.PIPE, check=True).stdout
    return open(path, "rb").read()


def write(path, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    packed = subprocess.run(["zstd", "-q", "-19", "--ultra", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
    with open(path, "wb") as out:
        out.write(packed)
    print(path, len(text), "->", len(packed))


def byte_spans(encoding, text):
    places = [0]
    for c in text:
        places.append(places[-1] + len(c.encode("utf-8")))
    return [places[i] for pair in encoding.offsets for i in pair]


def hugging_face(path, texts, with_spans):
    tokenizer = Tokenizer.from_str(read(path).decode("utf-8"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    result = {"plain": [], "decoded": [], "special": []} | ({"spans": []} if with_spans else {})
    tokenizer.encode_special_tokens = True
    for text in texts:
        encoding = tokenizer.encode(text, add_special_tokens=False)
        ids = encoding.ids
        decoded = tokenizer.decode(ids, skip_special_tokens=False)
        if with_spans:
            result["spans"].append(byte_spans(encoding, text))
        result["plain"].append(ids)
        result["decoded"].append(None if decoded == text else decoded)
    tokenizer.encode_special_tokens = False
    for text in SPECIAL_TEXTS + (BERT_TEXTS if with_spans else []):
        ids = tokenizer.encode(text, add_special_tokens=True).ids
        bare = tokenizer.encode(text, add_special_tokens=False).ids
        result["special"].append([text, ids, bare, tokenizer.decode(ids, skip_special_tokens=False),
                                  tokenizer.decode(ids, skip_special_tokens=True)])
    return result


def tiktoken_ranks(name, path, texts):
    ranks = {}
    for line in read(path).splitlines():
        token, rank = line.split()
        ranks[base64.b64decode(token)] = int(rank)
    original = public.load_tiktoken_bpe
    public.load_tiktoken_bpe = lambda *args, **kwargs: ranks
    parameters = getattr(public, name + "_base")()
    public.load_tiktoken_bpe = original
    encoding = tiktoken.Encoding(**parameters)
    result = {"specials": parameters["special_tokens"], "plain": [], "decoded": [], "special": []}
    for text in texts:
        ids = encoding.encode_ordinary(text)
        decoded = encoding.decode(ids)
        result["plain"].append(ids)
        result["decoded"].append(None if decoded == text else decoded)
    for text in SPECIAL_TEXTS:
        ids = encoding.encode(text, allowed_special="all")
        without = [i for i in ids if i not in parameters["special_tokens"].values()]
        result["special"].append([text, ids, ids, encoding.decode(ids), encoding.decode(without)])
    return result


def main():
    texts = json.loads(read(sys.argv[1]))
    out = sys.argv[2]
    with_spans = "--spans" in sys.argv
    for argument in sys.argv[3:]:
        if argument == "--spans":
            continue
        name, path = argument.split("=", 1)
        if ":" in name:
            pattern, name = name.split(":")
            write(f"{out}/{name}.json.zst", tiktoken_ranks(pattern, path, texts))
        else:
            write(f"{out}/{name}.json.zst", hugging_face(path, texts, with_spans))


main()
