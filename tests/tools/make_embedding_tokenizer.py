#!/usr/bin/env python3
"""Writes a WordPiece tokenizer of 101 tokens for the small encoders of tests/data/models.

    make_embedding_tokenizer.py tests/data/models/encoder_bert_mean/tokenizer.json

Letters, digits and the 32 punctuation characters of ASCII; [unused0] and [unused1] have BERT's ids 1 and 2.
"""
import json
import string
import sys

SPECIALS = {"[PAD]": 0, "[UNK]": 3, "[CLS]": 4, "[SEP]": 5, "[MASK]": 6}


def main() -> None:
    words = ["[PAD]", "[unused0]", "[unused1]", "[UNK]", "[CLS]", "[SEP]", "[MASK]"]
    words += list(string.ascii_lowercase) + ["##" + c for c in string.ascii_lowercase]
    words += list(string.digits) + list(string.punctuation)
    assert len(words) == 101
    added = [
        {"id": i, "content": text, "single_word": False, "lstrip": False, "rstrip": False, "normalized": False,
         "special": True}
        for text, i in SPECIALS.items()
    ]
    around = lambda name: {"SpecialToken": {"id": name, "type_id": 0}}
    document = {
        "version": "1.0",
        "truncation": None,
        "padding": None,
        "added_tokens": added,
        "normalizer": {"type": "BertNormalizer", "clean_text": True, "handle_chinese_chars": True,
                       "strip_accents": None, "lowercase": True},
        "pre_tokenizer": {"type": "BertPreTokenizer"},
        "post_processor": {
            "type": "TemplateProcessing",
            "single": [around("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, around("[SEP]")],
            "pair": [around("[CLS]"), {"Sequence": {"id": "A", "type_id": 0}}, around("[SEP]"),
                     {"Sequence": {"id": "B", "type_id": 1}}, {"SpecialToken": {"id": "[SEP]", "type_id": 1}}],
            "special_tokens": {name: {"id": name, "ids": [SPECIALS[name]], "tokens": [name]}
                               for name in ("[CLS]", "[SEP]")},
        },
        "decoder": {"type": "WordPiece", "prefix": "##", "cleanup": True},
        "model": {"type": "WordPiece", "unk_token": "[UNK]", "continuing_subword_prefix": "##",
                  "max_input_chars_per_word": 100, "vocab": {word: i for i, word in enumerate(words)}},
    }
    with open(sys.argv[1], "w") as file:
        json.dump(document, file, indent=1)
        file.write("\n")


if __name__ == "__main__":
    main()
