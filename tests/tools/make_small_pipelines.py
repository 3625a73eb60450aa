#!/usr/bin/env python3
"""Makes small tokenizer.json files, each for one rule, and what PyPI's `tokenizers` does with them.

usage: make_small_pipelines.py OUT_JSON_ZST

Output: name -> {"tokenizer", "rows": [text, ids, ids with added ones, ids with special tokens taken as text, text of
the second ids, the same without specials]}. Needs PyPI `tokenizers` and the zstd program.
"""

import json
import subprocess
import sys

from tokenizers import Tokenizer

LETTERS = {c: i for i, c in enumerate("abcdefgh \n.,?▁")}
N = len(LETTERS)
METASPACE = {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"},
                                                 {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}
LLAMA3 = ("(?i:'s|'t|'re|'ve|'m|'ll|'d)|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|\\p{N}{1,3}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*"
          "|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+")


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


def byte_level(use_regex=True, add_prefix_space=False):
    return dict(type="ByteLevel", add_prefix_space=add_prefix_space, trim_offsets=True, use_regex=use_regex)


def byte_model(*merges):
    codes = list(range(33, 127)) + list(range(161, 173)) + list(range(174, 256)) + list(range(256, 324))
    tokens = {chr(code): i for i, code in enumerate(codes)}
    for pair in merges:
        tokens["".join(pair)] = len(tokens)
    return dict(vocab=tokens, merges=[list(pair) for pair in merges])


def template(before, after):
    special = lambda text: {"SpecialToken": {"id": text, "type_id": 0}}
    return {"type": "TemplateProcessing",
            "single": [special(text) for text, _ in before] + [{"Sequence": {"id": "A", "type_id": 0}}] +
                      [special(text) for text, _ in after],
            "pair": [{"Sequence": {"id": "A", "type_id": 0}}, {"Sequence": {"id": "B", "type_id": 1}}],
            "special_tokens": {text: {"id": text, "ids": [i], "tokens": [text]} for text, i in before + after}}


def cases():
    yield "strips_and_words", document(added_tokens=[
        token("<l>", N, lstrip=True), token("<r>", N + 1, rstrip=True), token("<b>", N + 2, lstrip=True, rstrip=True),
        token("gh", N + 3, single_word=True), token("  ", N + 4), token("<s>", N + 5, special=True), token("<s>a", N + 6),
        token("<s>ab", N + 7, special=True)]), [
            "a <l> b", "a  <r>  b", "a<b>b", " \n <b> \u2003<l>  <r>  <l>c", "gh gha a gh.gh agh gh", "é gh éghé gh",
            "<s>a<s>ab<s>abc", "<r>   a", "a  b   c    d", "<r>  <r> <l> <b>", "ghgh gh_gh gh"]
    yield "normalized_added", document(normalizer=METASPACE, added_tokens=[
        token("b c", N, normalized=True), token("<x>", N + 1, special=True), token("dd", N + 2, normalized=True)]), [
            "b c", "ab c", "a b c", " b c dd", "a dd", "dd", "d", "<x>b c<x> d a", "a<x>"]
    unknown = ["axyzb", "xx", "é", "a", "", "x", "aéab"]
    yield "unknown_each", document(dict(vocab=vocab("<unk>"), unk_token="<unk>")), unknown
    yield "unknown_fused", document(dict(vocab=vocab("<unk>"), unk_token="<unk>", fuse_unk=True)), unknown
    yield "unknown_dropped", document(), unknown
    yield "partial_fallback", document(dict(vocab=vocab("<unk>", "<0xC3>", "<0xA9>", "<0x78>"), unk_token="<unk>",
                                            fuse_unk=True, byte_fallback=True)), [
        "axyzb", "éx", "yéy", "yxy", "ü é", "yyx", "xy yx"]
    yield "affixes", document(dict(
        vocab=vocab("##b", "##c", "##a", "c</w>", "##c</w>", "##b</w>", "ab", "abc</w>", "##ab", "##bc</w>", "a</w>"),
        continuing_subword_prefix="##", end_of_word_suffix="</w>",
        merges=[["a", "##b"], ["##b", "##c</w>"], ["ab", "##c</w>"], ["##a", "##b"]])), [
            "abc", "ab", "a", "bab", "abab", "cabc"]
    yield "ignore_merges", document(dict(vocab=vocab("ab", "abc", "bc", "abcd"), ignore_merges=True,
                                         merges=["b c", "a b"])), ["abc", "abcd", "abcda", "bc", "ab"]
    yield "same_result", document(dict(vocab=vocab("aa", "aaa", "aaaa"), merges=["a a", "aa a", "a aa", "aa aa"])), [
        "a" * n for n in range(1, 12)]
    pairs = dict(vocab=vocab("aa", "ab", "ba", "bb", "bab"), merges=["a a", "a b", "b a", "b b", "b ab"])
    for behavior in ["Isolated", "Removed", "Contiguous", "MergedWithPrevious", "MergedWithNext"]:
        for invert in (False, True):
            split = {"type": "Split", "pattern": {"String": "a"}, "behavior": behavior, "invert": invert}
            yield f"split_{behavior}_{invert}", document(pairs, pre_tokenizer=split), [
                "baab", "aabb", "abab", "a", "b", "bbaabbaa", "aaaa", "babab"]
    digits = dict(vocab=vocab("1", "2", "3", "12", "a1", "23"), merges=["1 2", "2 3", "a 1"])
    for individual in (True, False):
        yield f"digits_{individual}", document(digits, pre_tokenizer={"type": "Digits", "individual_digits": individual}), [
            "a12b", "123", "12 3"]
    yield "punctuation", document(dict(vocab=vocab("..", ".a", "a.", "?."), merges=[". .", ". a", "a .", "? ."]),
                                  pre_tokenizer={"type": "Punctuation", "behavior": "Isolated"}), ["a..b", "a.?.a", "..."]
    spaced = byte_model(("Ġ", "a"), ("a", "b"), ("Ġa", "b"))
    yield "prefix_space", document(spaced, pre_tokenizer=byte_level(add_prefix_space=True), decoder=byte_level(),
                                   added_tokens=[token("<x>", len(spaced["vocab"]), special=True)]), [
        "ab", "a b", " ab", "ab<x>ab", "<x>", "\nab", "ab ab <x> ab"]
    yield "byte_digits", document(
        byte_model(("Â", "²"), ("Ã", "²"), ("1", "²"), ("Ã", "¡"), ("ð", "Ł")), decoder=byte_level(),
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            byte_level(), {"type": "Digits", "individual_digits": False}, {"type": "Punctuation", "behavior": "Contiguous"}]}), [
            "²1", "ò²", "á!", "x²³¡", "€1", "😀¼"]
    yield "llama3_form", document(
        byte_model(("Ġ", "a"), ("1", "2"), ("12", "3"), ("3", "4"), ("'", "s")), decoder=byte_level(),
        added_tokens=[token("<b>", 261, special=True), token("<e>", 262, special=True)],
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": LLAMA3}, "behavior": "Isolated", "invert": False},
            byte_level(use_regex=False)]},
        post_processor={"type": "Sequence", "processors": [byte_level(), template([("<b>", 261)], [("<e>", 262)])]}), [
            "it's 1234 a", " 12\n\n x", "<b>1<e>"]


    clip_units = byte_model()["vocab"]
    clip_units = clip_units | {text + "</w>": len(clip_units) + i for i, text in enumerate(clip_units)}
    clip_merges = [["t", "h"], ["th", "e</w>"], ["i", "n"], ["a", "n"], ["an", "d</w>"], ["Ã", "©</w>"], ["'", "s</w>"], ["1", "2</w>"], ["c", "at</w>"], ["a", "t</w>"], ["c", "a"]]
    for left, right in clip_merges:
        clip_units.setdefault(right, len(clip_units))
        clip_units.setdefault(left + right, len(clip_units))
    ends = [("<|startoftext|>", len(clip_units)), ("<|endoftext|>", len(clip_units) + 1)]
    clip_split = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    yield "clip_like", document(
        dict(vocab=clip_units | dict(ends), merges=clip_merges, end_of_word_suffix="</w>", unk_token="<|endoftext|>"), decoder=byte_level(),
        added_tokens=[token(text, i, special=True) for text, i in ends],
        normalizer={"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "},
                                                        {"type": "Lowercase"}]},
        pre_tokenizer={"type": "Sequence", "pretokenizers": [
            {"type": "Split", "pattern": {"Regex": clip_split}, "behavior": "Removed", "invert": True}, byte_level(use_regex=False)]},
        post_processor={"type": "RobertaProcessing", "sep": ["<|endoftext|>", ends[1][1]], "cls": ["<|startoftext|>", ends[0][1]],
                        "trim_offsets": False, "add_prefix_space": False}), [
            "the cat and  THE Cat", "", " ", "e\u0301t\u00e9 caf\u00e9", "it's 12 \t\n don't!? ...", "<|endoftext|>a<|startoftext|>", "\u4f60\u597d\U0001f600 \u0130\u00df",
            "a\u00a0b\u3000c", "12345 x\u00b2"]
    words = {text: i for i, text in enumerate(["<unk>", "the", "cafe", "\u4e2d", ",", "cat", "s", "'", "a", "1"])}
    yield "bert_like", document(
        dict(type="WordLevel", vocab=words, unk_token="<unk>", dropout=None), pre_tokenizer={"type": "BertPreTokenizer"},
        normalizer={"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True, "strip_accents": None, "lowercase": True}), [
            "The CAF\u00c9 Cafe\u0301, the\u4e2d\u4e2dcat's\x00 \ufffd\u200d a\u00a01", "\u0301", "", "\u4e2d"]
    metaspaced = dict(vocab=vocab("\u2581a", "\u2581b", "\u2581\u2581"), merges=[["\u2581", "a"], ["\u2581", "b"], ["\u2581", "\u2581"]])
    for scheme in ["always", "first", "never"]:
        for cut in [True, False]:
            yield f"metaspace_{scheme}_{cut}", document(
                metaspaced, pre_tokenizer={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut},
                decoder={"type": "Metaspace", "replacement": "\u2581", "prepend_scheme": scheme, "split": cut},
                added_tokens=[token("<x>", N + 3, special=True)]), ["a b", " a  b ", "<x>a b", "a<x>b<x> a", "\u2581a", "  a"]


def rows_of(definition, texts):
    tokenizer = Tokenizer.from_str(json.dumps(definition))
    for text in texts:
        tokenizer.encode_special_tokens = False
        ids = tokenizer.encode(text, add_special_tokens=False).ids
        added = tokenizer.encode(text, add_special_tokens=True).ids
        decoded = [tokenizer.decode(added, skip_special_tokens=skip) for skip in (False, True)]
        tokenizer.encode_special_tokens = True
        yield [text, ids, added, tokenizer.encode(text, add_special_tokens=False).ids] + decoded


def main():
    result = {name: {"tokenizer": definition, "rows": list(rows_of(definition, texts))} for name, definition, texts in cases()}
    text = json.dumps(result, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    packed = subprocess.run(["zstd", "-q", "-19", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout
    with open(sys.argv[1], "wb") as out:
        out.write(packed)
    print(len(result), "cases,", len(text), "->", len(packed))


main()
