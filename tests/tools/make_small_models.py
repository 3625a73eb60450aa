#!/usr/bin/env python3
"""Makes small tokenizer.json files, each for a model or a decoder, and what PyPI's `tokenizers` does with them.

usage: make_small_models.py OUT_JSON_ZST

Output: name -> {"tokenizer", "rows": [text, ids, ids with added ones, ids with special tokens taken as text, text of
the second ids, the same without specials, spans of the second ids in bytes: begin, end, begin, end, ...]}. Needs PyPI
`tokenizers` and the zstd program.
"""

import json
import subprocess
import sys

from tokenizers import Tokenizer

LETTERS = {c: i for i, c in enumerate("abcdefgh \n.,?▁")}
N = len(LETTERS)
METASPACE = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                 {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}


def token(content, token_id, **flags):
    return dict(id=token_id, content=content, single_word=False, lstrip=False, rstrip=False, normalized=False,
                special=False) | flags


def vocab(*extra):
    return LETTERS | {text: N + i for i, text in enumerate(extra)}


def document(model=None, **members):
    bpe = dict(type="BPE", dropout=None, unk_token=None, continuing_subword_prefix=None, end_of_word_suffix=None,
               fuse_unk=False, byte_fallback=False, ignore_merges=False, vocab=vocab(), merges=[])
    return dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None, pre_tokenizer=None,
                post_processor=None, decoder=None) | members | {"model": bpe | (model or {})}


def cases():
    words = dict(type="WordPiece", unk_token="[UNK]", continuing_subword_prefix="##", max_input_chars_per_word=12)
    pieces = vocab("[UNK]", "[CLS]", "[SEP]", "##b", "##c", "##bc", "ab", "abc", "abcd", "##efg", "##e", "##f", "\u00e9", "##\u00e9",
                   "\u4e2d", "##\u4e2d", "'", "##s", "do", "not", "n't", "'m", "##.", "##,", "gg##")
    at_spaces = {"type": "Split", "pattern": {"String": " "}, "behavior": "Removed", "invert": False}
    word_texts = ["abc", "abcd", "abcbc", "abcde", "abcdefg", "abce", "abcx", "x", "abcdefgefgef", "abcdefgefgefg", "\u00e9\u00e9\u4e2d",
                  "\u4e2d" * 12, "\u4e2d" * 13, "a bb abb", "", " ", "a  b", "##b", "ab##b", "do not", "a . b , c ? a ' b n't 'm 's", "gg##b g"]
    yield "word_piece", document(words | dict(vocab=pieces), pre_tokenizer=at_spaces,
                                 decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}), word_texts
    yield "word_piece_raw", document(words | dict(vocab=pieces), pre_tokenizer=at_spaces,
                                     decoder={"type": "WordPiece", "prefix": "##", "cleanup": False}), word_texts
    yield "word_piece_framed", document(words | dict(vocab=pieces), pre_tokenizer=at_spaces,
                                        added_tokens=[token("[CLS]", N + 1, special=True), token("[SEP]", N + 2, special=True)],
                                        post_processor={"type": "BertProcessing", "sep": ["[SEP]", N + 2], "cls": ["[CLS]", N + 1]},
                                        decoder={"type": "WordPiece", "prefix": "##", "cleanup": True}), word_texts + ["a[SEP]b [CLS]"]
    yield "word_piece_no_prefix", document(words | dict(vocab=pieces, continuing_subword_prefix=""), pre_tokenizer=at_spaces), word_texts
    yield "word_piece_long", document(words | dict(vocab=pieces, max_input_chars_per_word=100000)), ["abc" * 5000, "a" * 5000, "abc" * 2000 + "x"]
    yield "word_level", document(dict(type="WordLevel", unk_token="<unk>", vocab=vocab("<unk>", "ab", "abc d")),
                                 pre_tokenizer=at_spaces), ["a ab abc", "abc d", "x", "", "a"]
    scores = lambda *pairs: [["<unk>", 0.0]] + [[c, -3.0 - i / 8] for i, c in enumerate(LETTERS)] + [list(pair) for pair in pairs]
    common = [("ab", -4.0), ("bc", -3.5), ("abc", -6.0), ("cd", -2.0), ("aa", -6.25), ("aaa", -9.375), ("\u00e9", -5.0), ("\u4e2d\u00e9", -7.0),
              ("\u2581a", -1.0), ("a\u2581", -1.0), ("ef", 0.5), ("efe", 0.75)]
    unigram_texts = ["abc", "abcd", "abcabcab", "aaaa", "aaaaa", "aaaaaaaa", "xabx", "xx", "x", "", "a a a", "\u00e9\u4e2d\u00e9x", "\u4e2d", "efefe", "a<unk>b",
                     "<unk>", "x<unk>x", "\U0001f600\U0001f600a\U0001f600", "\n.,? ", "abcdefgh" * 40]
    bare = lambda vocab_list, **more: dict(type="Unigram", unk_id=0, vocab=vocab_list, byte_fallback=False) | more
    whole = lambda model, **members: {k: v for k, v in document(**members).items() if k != "model"} | {"model": model}
    yield "unigram", whole(bare(scores(*common))), unigram_texts
    yield "unigram_spaces", whole(bare(scores(*common)), normalizer=METASPACE, decoder={
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "always", "split": True}), unigram_texts
    yield "unigram_never", whole(bare(scores(*common)), normalizer=METASPACE, decoder={
        "type": "Metaspace", "replacement": "\u2581", "prepend_scheme": "never", "split": False}), unigram_texts
    yield "unigram_old_metaspace", whole(bare(scores(*common)), normalizer=METASPACE, decoder={
        "type": "Metaspace", "replacement": "\u2581", "add_prefix_space": True}), unigram_texts
    every_byte = [(f"<0x{byte:02X}>", 0.0) for byte in range(256)]
    yield "unigram_bytes", whole(bare(scores(*common, *every_byte), byte_fallback=True), decoder={
        "type": "Sequence", "decoders": [{"type": "ByteFallback"}, {"type": "Fuse"}]}), unigram_texts
    yield "unigram_few_bytes", whole(bare(scores(*common, ("<0x78>", 0.0)), byte_fallback=True)), unigram_texts + ["xy", "yxy"]
    yield "unigram_positive", whole(bare(scores(("xy", 4.0), ("zz", 30.0)))), ["xy", "axya", "zz", "azzza", "xyxy"]
    with_words = dict(vocab=vocab("a</w>", "b</w>", "ab</w>", "</w>c"), merges=[["a", "b</w>"]], end_of_word_suffix="</w>")
    yield "bpe_decoder", document(with_words, pre_tokenizer=at_spaces, decoder={"type": "BPEDecoder", "suffix": "</w>"}), [
        "ab ab", "a b ab", "a", "", "ba b"]
    tail = dict(vocab=vocab("  a  ", "bb"), merges=[["b", "b"]])
    yield "strip_ends", document(tail, added_tokens=[token("  a  ", N)], decoder={
        "type": "Strip", "content": " ", "start": 1, "stop": 1}), ["  a  ", "b  a  b", "bb", "b  a    a  "]
    yield "ctc", document(dict(vocab=vocab("|", "<pad>", "'")), decoder={
        "type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": True}), ["aab|b", "bb||cc", "a|b", "hh ee", "a|'|b"]
    yield "ctc_raw", document(dict(vocab=vocab("|", "<pad>")), decoder={
        "type": "CTC", "pad_token": "<pad>", "word_delimiter_token": "|", "cleanup": False}), ["aab|b", "bb||cc", "a|b"]


def byte_spans(encoding, text):
    places = [0]
    for c in text:
        places.append(places[-1] + len(c.encode("utf-8")))
    return [places[i] for pair in encoding.offsets for i in pair]


def rows_of(definition, texts):
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    for text in texts:
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        added = tokenizer.encode(text, add_special_tokens=True)
        decoded = [tokenizer.decode(added.ids, skip_special_tokens=skip) for skip in (False, True)]
        tokenizer.encode_special_tokens = True
        taken_as_text = tokenizer.encode(text, add_special_tokens=False).ids
        yield [text, ids, added.ids, taken_as_text] + decoded + [byte_spans(added, text)]


def main():
    result = {name: {"tokenizer": definition, "rows": list(rows_of(definition, texts))} for name, definition, texts in cases()}
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    packed = subprocess.run(["zstd", "-q", "-19", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
    with open(sys.argv[1], "wb") as out:
        out.write(packed)
    print(len(result), "cases,", len(text), "->", len(packed))


main()
