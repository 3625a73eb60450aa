#!/usr/bin/env python3
"""Writes the small seed files of tests/fuzz/corpus/{safetensors,zstd,model_config,sentencepiece} and those of
tokenizer_json that are from small_models.json.zst (pip install zstandard).

usage: make_fuzz_corpus.py tests/fuzz/corpus
"""
import json
import pathlib
import struct
import sys

import zstandard

root = pathlib.Path(sys.argv[1])


def write(kind, name, data):
    folder = root / kind
    folder.mkdir(parents=True, exist_ok=True)
    (folder / name).write_bytes(data)


def header(name, data_bytes, document):
    text = document if isinstance(document, str) else json.dumps(document, separators=(",", ":"), ensure_ascii=False)
    write("safetensors", name, struct.pack("<H", data_bytes) + text.encode())


def entry(dtype, shape, begin, end, **more):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end], **more}


header("none", 0, "{}      ")
header("one", 8, {"w": entry("F32", [2], 0, 8)})
header("two", 20, {"__metadata__": {"format": "pt"}, "b": entry("BF16", [2, 3], 8, 20), "a": entry("I64", [1], 0, 8)})
header("scalar_and_empty", 4, {"s": entry("F32", [], 0, 4), "e": entry("U8", [0, 7], 0, 0)})
header("unicode", 2, {'n"\\\n语😀': entry("BOOL", [2], 0, 2), "\x7f": entry("F8_E5M2", [0], 2, 2)})
header("extra_keys", 1, {"w": entry("U8", [1], 0, 1, note=[{"deep": [None, True, -1.5e3, "x"]}])})
header("overlap", 8, {"a": entry("U8", [5], 0, 5), "b": entry("U8", [4], 4, 8)})
header("hole", 9, {"a": entry("I8", [4], 0, 4), "b": entry("I8", [4], 5, 9)})
header("overflow", 8, {"w": entry("F64", [2**40, 2**40], 0, 8)})
header("negative", 8, {"w": entry("F16", [-4], 0, 8)})
header("twice", 0, '{"a":{"dtype":"U8","shape":[0],"data_offsets":[0,0]},"\\u0061":{"dtype":"U8","shape":[0],"data_offsets":[0,0]}}')
header("cut", 8, '{"w":{"dtype":"F32","shape":[2')
header("foreign", 8, {"w": entry("F8_E8M0", [8], 0, 8)})
header("deep", 0, '{"w":' + "[" * 140 + "]" * 140 + "}")

text = b"".join(b"line %d\n" % (i * i % 97) for i in range(200))
frame = zstandard.ZstdCompressor(level=3, write_checksum=True).compress(text)
write("zstd", "frame", frame)
write("zstd", "empty_frame", zstandard.ZstdCompressor(write_content_size=False).compress(b""))
write("zstd", "two_frames", frame + zstandard.ZstdCompressor(level=19).compress(text[:100]))
write("zstd", "skippable", b"\x50\x2a\x4d\x18\x03\0\0\0abc" + frame)
write("zstd", "zeros", zstandard.ZstdCompressor(level=9).compress(bytes(1 << 21)))
write("zstd", "cut", frame[:-9])
write("zstd", "raw_block", b"\x28\xb5\x2f\xfd\0\x58\x19\0\0abc")
write("zstd", "wide_window", b"\x28\xb5\x2f\xfd\0\x90\x19\0\0abc")

configs = {
    "llama": {"architectures": ["LlamaForCausalLM"], "hidden_size": 64, "num_hidden_layers": 5, "rms_norm_eps": 1e-05,
              "rope_theta": 10000.0, "rope_scaling": {"rope_type": "llama3", "factor": 8.0}, "tie_word_embeddings": True},
    "gpt2": {"model_type": "gpt2", "n_embd": 32, "n_layer": 5, "n_head": 4, "n_positions": 512, "bos_token_id": None},
    "bert": {"model_type": "bert", "hidden_size": 128, "hidden_act": "gelu", "layer_norm_eps": 1e-12, "vocab_size": 30522},
    "numbers": {"a": [0, -1, 1.5, -2.5e-300, 18446744073709551615, -9223372036854775808, 1e308]},
    "strings": {"é": "\u0000\u001f\"\\/\ud83d\ude00", "": ""},
}
for name, document in configs.items():
    write("model_config", name, json.dumps(document).encode())
write("model_config", "broken", b'{"a": [1, 2, {"b": tru')
write("model_config", "twice", b'{"a": 1, "a": 2}')


# SentencePiece models, written field by field.
def varint(number):
    return bytes([number]) if number < 128 else bytes([number & 127 | 128]) + varint(number >> 7)


def field(number, value):
    if isinstance(value, int):
        return varint(number << 3) + varint(value)
    if isinstance(value, float):
        return varint(number << 3 | 5) + struct.pack("<f", value)
    data = value if isinstance(value, bytes) else value.encode()
    return varint(number << 3 | 2) + varint(len(data)) + data


def model(kind, pieces, normalizer=b"", trainer=b""):
    body = b"".join(field(1, field(1, text) + field(2, float(score)) + field(3, type_)) for text, score, type_ in pieces)
    return body + field(2, field(3, kind) + trainer) + field(3, normalizer)


ends = [("<unk>", 0, 2), ("<s>", 0, 3), ("</s>", 0, 3)]
letters = [(c, -3 - i / 8, 1) for i, c in enumerate("abdno12,\u2581'\u00e9")]
words = [("\u2581a", -2, 1), ("ab", -2.5, 1), ("\u2581don", -4, 1), ("on", -3.5, 1), ("no", -3.5, 1), ("unused", -1, 5)]
every_byte = [(f"<0x{byte:02X}>", 0, 6) for byte in range(256)]
# A table of one key, "a" to "b": the root's children from unit 2 on, a leaf behind 'a'.
charsmap = struct.pack("<I", 4 * 512) + b"".join(
    struct.pack("<I", {0: 2 << 10, 2 ^ 97: 97 | 1 << 8 | 4 << 10, 2 ^ 97 ^ 4: 1 << 31}.get(i, 0)) for i in range(512)) + b"b\0"
write("sentencepiece", "unigram", model(1, ends + letters + words))
write("sentencepiece", "unigram_bytes", model(1, ends + every_byte + letters + words, trainer=field(35, 1)))
write("sentencepiece", "bpe", model(2, ends + letters + words[:-1]))
write("sentencepiece", "raw_spaces", model(1, ends + letters, normalizer=field(3, 0) + field(4, 0)))
write("sentencepiece", "charsmap", model(1, ends + letters, normalizer=field(2, charsmap)))
write("sentencepiece", "user_defined", model(1, ends + [("x", 0, 4)]))
write("sentencepiece", "word", model(3, ends + letters))

data = (root.parent.parent / "data" / "tokenizers" / "small_models.json.zst").read_bytes()
for name, case in json.loads(zstandard.ZstdDecompressor().decompress(data, max_output_size=1 << 24)).items():
    if name != "unigram_bytes":  # long, and the same as unigram_few_bytes to a fuzzer
        write("tokenizer_json", name, json.dumps(case["tokenizer"], ensure_ascii=False, separators=(",", ":")).encode())
