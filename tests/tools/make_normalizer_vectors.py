#!/usr/bin/env python3
"""What PyPI's `tokenizers` does with each normalizer and pre-tokenizer: for many texts, and for every code point.

usage: make_normalizer_vectors.py TESTS_DATA_TOKENIZERS [normalizers|pre_tokenizers|regex_sets]

Reads samples.json.zst there. Writes normalizers.json.zst, a list of
  {"normalizer", "texts": [[text, result, [begin, end of each character's origin ...]]],
   "codepoints": [{"before", "after", "results": {result: [[first, last]]}}]}
with U+E000 for the code point, what is not listed being as it was; pre_tokenizers.json.zst, a list of
  {"pre_tokenizer", "texts": [[text, [[piece, begin, end], ...]]], "codepoints": {pieces of a<c>1: [[first, last]]}}
with @ for the code point, and regex_sets.json.zst: {pattern: [[first, last]] of the characters it matches}. Places are bytes. Needs PyPI `tokenizers` and the zstd program.
"""

import base64
import json
import pathlib
import random
import struct
import subprocess
import sys

from tokenizers import PreTokenizedString, Regex, Tokenizer

CODEPOINTS = [c for c in range(0x110000) if not 0xD800 <= c <= 0xDFFF]
HARD = [
    "", " ", "a", "é", "e\u0301", "a\u0323\u0301", "a\u0301\u0323", "\u0301a", "\u0301\u0323", "q\u0307\u0323", "ḍ\u0307 Ḋ\u0323",
    "ấ Ấ ự ǖ", "A\u030a Å Å", "각 \u1100\u1161\u11a8 가\u11a8 \u1100\u1161 \u11a8", "한국어 텍스트", "ﬁ ﬀ ﷺ ㎏ ½ ² Ⅷ ｱﾞ ﾊﾟ が か\u3099 ガ",
    "क़ ড় \u0915\u093c", "\u0344 \u0f73 \u0f75 \u0f81", "\u0b47\u0b3e \u09c7\u09be \u1b05\u1b35 \U00011131\U00011127 \U00011935\U00011930",
    "İstanbul ıI ŞĞ ẞß ΑΣ ΣΑΣ ǅ Ⱥ", "ÀÉÎÕÜ àéîõü ÇŁØ", "naïve façade Ångström über Škoda", "中文字符 mixed 漢字 with かな", "你好，世界！", "𠀀𪜀 丽 豈",
    "tab\tnew\nline\r\ncr\r nel\u0085 ls\u2028 nbsp\u00a0 zwsp\u200b bom\ufeff rep\ufffd", "\x00\x01\x07\x0b\x0c\x1f\x7f\x80\x9f", "soft\u00adhyphen zw\u200djoin",
    "  leading and trailing  ", "\u3000\u2003 wide \u2003\u3000", "▁ ▁a▁ b▁▁c", " ▁a", "▁", "a  b   c", "hello, world! don't stop; it's 12:30.", "$+<=>^`|~ «quoted» „low“ ‹x› … — –",
    "١٢٣ १२३ 123 ½ Ⅻ ²³", "foo_bar-baz.qux@example.com https://a.b/c?d=e&f=g#h", "👩‍👩‍👧 🇩🇪 👍🏽 ❤️ 😀", "ไทย ภาษา မြန်မာ ქართული Ελληνικά Русский ёЁйЙ עִבְרִית العَرَبِيَّة",
    "x" * 40, "é" * 20, "a\u0301" * 20 + "\u0323" * 10, "12345678", "1a2b3", "...!!!", "aaa bbb", "CamelCase HTTPServer iPhone", "\u0085", "\u2028\u2029",
]
REPLACES = [(r"\s+", " "), (" {2,}", "▁"), ("[0-9]", "0"), ("x*", "-"), (r"(?i:É)", "e"), (r"\b", "|"), ("(a)|b", "<é>")]


def charsmap(table):
    """A double-array trie of SentencePiece's form, made the simplest way."""
    texts, places = bytearray(), {}
    for key in sorted(table):
        places[key.encode("utf-8")] = len(texts)
        texts += table[key].encode("utf-8") + b"\0"
    children = {b"": set()}
    for key in places:
        for i in range(len(key)):
            children.setdefault(key[:i], set()).add(key[i])
            children.setdefault(key[:i + 1], set())
    units, used = {0: 0}, {0}
    labels = lambda prefix: sorted(children[prefix]) + ([0] if prefix in places else [])
    queue = [(b"", 0)]
    free = 1
    while queue:
        prefix, node = queue.pop()
        wanted = labels(prefix)
        if not wanted:
            continue
        base = free
        while any((base ^ label) in used for label in wanted) or base in used or (node ^ base) >= 1 << 21:
            base += 1
        while free in used:
            free += 1
        used.add(base)  # no two nodes share a base
        offset = node ^ base
        units[node] |= offset << 10 | (1 << 8 if prefix in places else 0)
        for label in wanted:
            child = base ^ label
            used.add(child)
            if label == 0:
                units[child] = places[prefix] | 1 << 31
            else:
                units[child] = label
                queue.append((prefix + bytes([label]), child))
    size = (max(units) | 255) + 1
    trie = b"".join(struct.pack("<I", units.get(i, 0)) for i in range(size))
    return base64.b64encode(struct.pack("<I", len(trie)) + trie + bytes(texts)).decode("ascii")


def nmt_like_charsmap():
    import unicodedata
    table = {"\t": " ", "\n": " ", "\r": " ", "\r\n": " ", "\u00a0": " ", "\u3000": " ", "\u200b": " ", "\u00ad": "", "\x01": "", "\ufeff": "", "e\u0301": "é",
             "a\u0301": "á", "\u0301": "", "ß": "ss", "…": "...", "g\u0301": "<g>"}
    for c in list(range(0xA0, 0x250)) + list(range(0xFB00, 0xFB07)) + list(range(0xFF01, 0xFF70)) + list(range(0x2460, 0x2480)) + [0xFDFA]:
        to = unicodedata.normalize("NFKC", chr(c))
        if to != chr(c):
            table.setdefault(chr(c), to)
    return charsmap(table)


def normalizers():
    for form in ["NFC", "NFD", "NFKC", "NFKD", "Lowercase", "StripAccents", "Nmt", "ByteLevel"]:
        yield {"type": form}
    for left, right in [(True, True), (True, False), (False, True)]:
        yield {"type": "Strip", "strip_left": left, "strip_right": right}
    for clean, chinese, accents, lower in [(True, True, None, True), (True, True, None, False), (True, True, False, True), (True, False, True, False),
                                           (False, True, False, False), (False, False, True, True), (False, False, False, True)]:
        yield {"type": "BertNormalizer", "clean_text": clean, "handle_chinese_chars": chinese, "strip_accents": accents, "lowercase": lower}
    yield {"type": "Prepend", "prepend": "▁x"}
    yield {"type": "Replace", "pattern": {"String": "a"}, "content": "bé"}
    yield {"type": "Replace", "pattern": {"String": " "}, "content": ""}
    for regex, content in REPLACES:
        yield {"type": "Replace", "pattern": {"Regex": regex}, "content": content}
    yield {"type": "Precompiled", "precompiled_charsmap": nmt_like_charsmap()}
    yield {"type": "Sequence", "normalizers": [{"type": "NFC"}, {"type": "Replace", "pattern": {"Regex": "\\s+"}, "content": " "}, {"type": "Lowercase"}]}
    yield {"type": "Sequence", "normalizers": [{"type": "NFKD"}, {"type": "StripAccents"}, {"type": "Lowercase"}, {"type": "Strip", "strip_left": True, "strip_right": True}]}
    yield {"type": "Sequence", "normalizers": [{"type": "Prepend", "prepend": "▁"}, {"type": "Replace", "pattern": {"String": " "}, "content": "▁"}]}


SETS = [r"\w", r"\W", r"[\w]", r"[^\w]", r"\s", r"\S", r"[\S]", r"\d", r"\D", r"\h", ".", r"\N", r"\O", "[[:punct:]]", "[[:^punct:]]", "[[:space:]]", "[[:word:]]", "[[:digit:]]", "[[:cntrl:]]",
        "[[:blank:]]", r"[^\P{L}a]", r"[\p{L}&&[^\p{Han}]]", r"[^\p{Han}&&\p{Lo}]", r"[^\s\p{L}\p{N}]", r"[a[\p{N}[^\p{C}&&\p{S}]]]", r"\p{^Lu}"] + [r"\p{%s}" % name for name in (
    "L Lu Ll Lt Lm Lo M Mn Mc Me N Nd Nl No P Pc Pd Ps Pe Pi Pf Po S Sm Sc Sk So Z Zs Zl Zp C Cc Cf Co Han Hiragana Katakana Hangul Bopomofo Latin Cyrillic Greek Arabic Hebrew Thai "
    "Devanagari Punct Space Any Letter Nonspacing_Mark").split()]


def split(pattern, behavior="Isolated", invert=False):
    return {"type": "Split", "pattern": pattern, "behavior": behavior, "invert": invert}


def byte_level(use_regex, space=False):
    return {"type": "ByteLevel", "add_prefix_space": space, "trim_offsets": True, "use_regex": use_regex}


def pre_tokenizers():
    for name in ["Whitespace", "WhitespaceSplit", "BertPreTokenizer"]:
        yield {"type": name}
    for behavior in ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"]:
        yield {"type": "Punctuation", "behavior": behavior}
        for invert in [False, True]:
            yield split({"Regex": r"\s+|[aeiou]"}, behavior, invert)
        yield split({"Regex": "x*"}, behavior)
        yield split({"String": "a"}, behavior)
    for individual in [False, True]:
        yield {"type": "Digits", "individual_digits": individual}
    for scheme in ["always", "first", "never"]:
        for cut in [True, False]:
            yield {"type": "Metaspace", "replacement": "▁", "prepend_scheme": scheme, "split": cut}
    yield {"type": "CharDelimiterSplit", "delimiter": "é"}
    yield {"type": "FixedLength", "length": 3}
    for use_regex in [False, True]:
        for space in [False, True]:
            yield byte_level(use_regex, space)
    clip = r"<\|startoftext\|>|<\|endoftext\|>|'s|'t|'re|'ve|'m|'ll|'d|[\p{L}]+|[\p{N}]|[^\s\p{L}\p{N}]+"
    yield {"type": "Sequence", "pretokenizers": [split({"Regex": clip}, "Removed", True), byte_level(False)]}
    deepseek = ["[\r\n]", r"\s?\p{L}+", r"\s?\p{P}+", "[一-龥ࠀ-一가-퟿]+", r"\p{N}"]
    yield {"type": "Sequence", "pretokenizers": [split({"Regex": regex}) for regex in deepseek] + [byte_level(False)]}
    kimi = (r"[\p{Han}]+|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]+[\p{Ll}\p{Lm}\p{Lo}\p{M}&&[^\p{Han}]]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?"
            r"|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n]*|\s*[\r\n]+|\s+(?!\S)|\s+")
    yield {"type": "Sequence", "pretokenizers": [split({"Regex": kimi}), byte_level(False)]}
    bloom = r" ?[^(\s|[.,!?…。，、।۔،])]+"
    yield {"type": "Sequence", "pretokenizers": [split({"Regex": bloom}), byte_level(False)]}
    for regex in [r"\w+", r"\W", r"[\w]+", r"\b", r"\h+", r"\R", r"(?i:[a-c]+)|x(?i)y|Z", r"a{1,2}+b|\p{N}{2}+", r"[[:punct:]]+", r"(?m).+", r".+$", r"^.", r"[a-c&&b-d]+", r"(?<=\s)\S",
                  r"(?>a+)b", r"(\w)\1", r"\p{^L}+", r"\P{L}", r"[^\P{L}a]+", r"\p{Lu}\p{Ll}*", r"[\u4e00-\u9fff]+|\x41", r"(?x) \d + # digits", r"\s+$|\G\w"]:
        yield split({"Regex": regex})
    yield {"type": "Sequence", "pretokenizers": [{"type": "WhitespaceSplit"}, {"type": "Metaspace", "replacement": "▁", "prepend_scheme": "always", "split": True}]}
    yield {"type": "Sequence", "pretokenizers": [{"type": "Punctuation", "behavior": "Contiguous"}, byte_level(True), {"type": "Digits", "individual_digits": False},
                                                 split({"Regex": "[0-9][0-9][0-9]"})]}
    yield {"type": "Sequence", "pretokenizers": [{"type": "Whitespace"}, {"type": "Digits", "individual_digits": True}]}


def load(member, value):
    document = dict(version="1.0", truncation=None, padding=None, added_tokens=[], normalizer=None, pre_tokenizer=None, post_processor=None, decoder=None,
                    model={"type": "WordLevel", "vocab": {"a": 0}, "unk_token": "a"})
    return getattr(Tokenizer.from_str(json.dumps(document | {member: value})), member)


def places_of(text):
    places = [0]
    for c in text:
        places.append(places[-1] + len(c.encode("utf-8")))
    return places


def ranges(codepoints):
    out = []
    for c in sorted(codepoints):
        if out and out[-1][1] == c - 1:
            out[-1][1] = c
        else:
            out.append([c, c])
    return out


def traced(normalizer, text):
    places = places_of(text)
    pieces = PreTokenizedString(text)
    pieces.normalize(lambda n: normalizer.normalize(n))
    pieces.split(lambda i, n: n.split(Regex(r"[\s\S]"), "isolated"))
    splits = pieces.get_splits("original", "char")
    return [text, "".join(piece for piece, _, _ in splits), [places[i] for _, span, _ in splits for i in span]]


def every_codepoint(normalizer, before, after):
    groups = {}
    for c in CODEPOINTS:
        letter = chr(c)
        result = normalizer.normalize_str(before + letter + after)
        key = result if letter in before + after else result.replace(letter, "\ue000")
        if key != before + "\ue000" + after and result != before + letter + after:
            groups.setdefault(key, []).append(c)
    return {"before": before, "after": after, "results": {key: ranges(value) for key, value in groups.items()}}


def write(path, value):
    text = json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode("utf-8")
    path.write_bytes(subprocess.run(["zstd", "-q", "-19", "-c"], input=text, stdout=subprocess.PIPE, check=True).stdout)
    print(path.name, len(value), "cases,", len(text), "->", path.stat().st_size)


def texts_of(folder):
    samples = json.loads(subprocess.run(["zstd", "-dqc", folder / "samples.json.zst"], stdout=subprocess.PIPE, check=True).stdout)
    chooser = random.Random(4)
    short = [text for text in samples if len(text) <= 80]
    marks = [chr(c) for c in [0x300, 0x301, 0x304, 0x308, 0x30A, 0x323, 0x327, 0x334, 0x345, 0x5B0, 0x93C, 0x3099, 0x1DC5, 0x1100, 0x1161, 0x11A8, 0x9BE]]
    letters = list("aeouAEOUszкиが가क") + ["ấ", "ệ", "ǖ", "ḍ", "Å", "각", "ﬁ", " "]
    mixed = ["".join(chooser.choice(letters if chooser.random() < 0.4 else marks) for _ in range(chooser.randint(2, 12))) for _ in range(60)]
    return HARD + mixed + chooser.sample(short, min(60, len(short)))


def normalizer_cases(texts):
    for definition in normalizers():
        normalizer = load("normalizer", definition)
        case = {"normalizer": definition, "texts": [traced(normalizer, text) for text in texts], "codepoints": []}
        kind = definition["type"]
        regex = definition["pattern"].get("Regex") if kind == "Replace" else None
        if kind not in ("Sequence", "Prepend", "ByteLevel", "Replace") or regex in (r"\s+", "[0-9]", r"\b"):
            case["codepoints"].append(every_codepoint(normalizer, "", ""))
            if kind in ("NFC", "NFD", "NFKC"):
                for before, after in [("a\u0345", ""), ("", "\u0334"), ("", "\u0301")]:
                    case["codepoints"].append(every_codepoint(normalizer, before, after))
            if kind == "Precompiled":
                case["codepoints"].append(every_codepoint(normalizer, "g", ""))
                case["codepoints"].append(every_codepoint(normalizer, "", "\u0301"))
        yield case


def pre_tokenizer_cases(texts):
    by_character = [{"type": "Whitespace"}, {"type": "WhitespaceSplit"}, {"type": "BertPreTokenizer"},
                    {"type": "Punctuation", "behavior": "Isolated"}, {"type": "Digits", "individual_digits": True}]
    for definition in pre_tokenizers():
        pre_tokenizer = load("pre_tokenizer", definition)
        case = {"pre_tokenizer": definition, "texts": [], "codepoints": {}}
        for text in texts:
            places = places_of(text)
            pieces = pre_tokenizer.pre_tokenize_str(text)
            case["texts"].append([text, [[piece, places[begin], places[end]] for piece, (begin, end) in pieces]])
        if definition in by_character:
            groups = {}
            for c in CODEPOINTS:
                pieces = "\x1f".join(piece for piece, _ in pre_tokenizer.pre_tokenize_str("a" + chr(c) + "1"))
                if c not in (0x61, 0x31, 0x1F):
                    groups.setdefault(pieces.replace(chr(c), "@"), []).append(c)
            case["codepoints"] = {key: ranges(value) for key, value in groups.items()}
        yield case


def regex_sets():
    everything = "".join(map(chr, CODEPOINTS))
    for pattern in SETS:
        pieces = load("pre_tokenizer", split({"Regex": pattern}, "Removed", True)).pre_tokenize_str(everything)
        yield pattern, ranges(ord(c) for piece, _ in pieces for c in piece)


def main():
    folder = pathlib.Path(sys.argv[1])
    wanted = sys.argv[2:] or ["normalizers", "pre_tokenizers", "regex_sets"]
    texts = texts_of(folder)
    makers = {"normalizers": lambda: list(normalizer_cases(texts)), "pre_tokenizers": lambda: list(pre_tokenizer_cases(texts)),
              "regex_sets": lambda: dict(regex_sets())}
    for name in wanted:
        write(folder / (name + ".json.zst"), makers[name]())


if __name__ == "__main__":
    main()
