#!/usr/bin/env python3
"""Holds exported GGUF files against the programs they are for: PyPI `gguf` reads every value back, and llama.cpp
tells the same story and gives the same token ids.

    python3 -m venv /tmp/venv && /tmp/venv/bin/pip install gguf numpy zstandard
    /tmp/venv/bin/python tests/tools/check_gguf.py build/release/bin/nanochat path/to/llama.cpp/build/bin

llama.cpp needs its targets llama-completion and llama-tokenize. Prints one line for each check; exit code 1 if one fails.
"""
import json
import pathlib
import struct
import subprocess
import sys
import tempfile

import gguf
import numpy
import zstandard

DATA = pathlib.Path(__file__).resolve().parent.parent / "data"
STORIES = DATA / "models" / "stories260K"
NAMES = {"attn_norm": "input_layernorm", "attn_q": "self_attn.q_proj", "attn_k": "self_attn.k_proj",
         "attn_v": "self_attn.v_proj", "attn_output": "self_attn.o_proj", "ffn_norm": "post_attention_layernorm",
         "ffn_gate": "mlp.gate_proj", "ffn_up": "mlp.up_proj", "ffn_down": "mlp.down_proj"}
failures = 0


def report(what, good, detail=""):
    global failures
    failures += not good
    print(("ok    " if good else "WRONG ") + what + (": " + detail if detail else ""))


def read_safetensors(path):
    raw = path.read_bytes()
    size = struct.unpack("<Q", raw[:8])[0]
    header = json.loads(raw[8:8 + size])
    header.pop("__metadata__", None)
    return {name: numpy.frombuffer(raw, "<f4", offset=8 + size + entry["data_offsets"][0],
                                   count=int(numpy.prod(entry["shape"]))).reshape(entry["shape"])
            for name, entry in header.items()}


def stored_name(name):
    if name == "token_embd.weight":
        return "model.embed_tokens.weight"
    if name == "output_norm.weight":
        return "model.norm.weight"
    _, layer, kind, _ = name.split(".")
    return f"model.layers.{layer}.{NAMES[kind]}.weight"


def interleaved(rows, n_head):
    """The rows of q and k as llama.cpp's own converter orders them."""
    return rows.reshape(n_head, 2, rows.shape[0] // n_head // 2, rows.shape[1]).swapaxes(1, 2).reshape(rows.shape)


def round_bf16(values):
    bits = values.astype("<f4").view("<u4").astype(numpy.uint64)
    return ((bits + 0x7FFF + ((bits >> 16) & 1)) >> 16).astype("<u2")


def check_values(path, dtype):
    stored = read_safetensors(STORIES / "model.safetensors")
    reader = gguf.GGUFReader(path)
    n_equal = 0
    for tensor in reader.tensors:
        expected = stored[stored_name(tensor.name)]
        if tensor.name.endswith("attn_q.weight"):
            expected = interleaved(expected, 8)
        if tensor.name.endswith("attn_k.weight"):
            expected = interleaved(expected, 4)
        data = numpy.asarray(tensor.data)
        if expected.ndim == 1 or dtype == "f32":
            same = data.dtype == numpy.float32 and numpy.array_equal(data, expected)
        elif dtype == "f16":
            same = numpy.array_equal(data.view("<u2"), expected.astype("<f2").view("<u2"))
        else:
            same = numpy.array_equal(data.view("<u2").reshape(expected.shape), round_bf16(expected))
        n_equal += same
    report(f"gguf reads {dtype}", n_equal == len(stored) == len(reader.tensors), f"{n_equal} of {len(stored)} tensors equal")


def run(*arguments):
    return subprocess.run([str(a) for a in arguments], check=True, capture_output=True).stdout


def check_story(llama, path, dtype):
    golden = json.loads((STORIES / "golden.json").read_text())
    text = run(llama / "llama-completion", "-m", path, "-p", "", "-n", len(golden["greedy_ids"]), "--temp", 0, "-no-cnv", "-t", 1)
    text = text.decode().rstrip("\n")
    same = 0
    while same < min(len(text), len(golden["text"])) and text[same] == golden["text"][same]:
        same += 1
    report(f"llama.cpp tells the story, {dtype}", text == golden["text"], f"{same} of {len(golden['text'])} characters")


def texts():
    marked = (DATA / "tokenizers/llama.cpp/ggml-vocab.inp").read_bytes().decode().split("\n__ggml_vocab_test__\n")
    samples = json.loads(zstandard.ZstdDecompressor().stream_reader(
        open(DATA / "tokenizers/samples.json.zst", "rb")).read())
    step = len(samples) // 100 + 1  # llama-tokenize starts anew for each
    return [t for t in marked + samples[::step] if t and "\0" not in t]


def check_tokenizer(program, llama, folder, name):
    packed = DATA / f"tokenizers/files/{name}.tokenizer.json.zst"
    file = folder / f"{name}.json"
    file.write_bytes(zstandard.ZstdDecompressor().stream_reader(open(packed, "rb")).read())
    document = json.loads(file.read_text())
    ids = list(document["model"]["vocab"].values()) + [t["id"] for t in document["added_tokens"]]
    shape = {"model_type": "llama", "vocab_size": max(ids) + 3, "hidden_size": 64, "intermediate_size": 64,
             "num_hidden_layers": 1, "num_attention_heads": 2}
    path = folder / f"{name}.gguf"
    run(program, "export", "--synthetic", json.dumps(shape), "--tokenizer", file, path)
    wrong, all_texts = [], texts()
    for text in all_texts:
        (folder / "text").write_bytes(text.encode())
        ours = json.loads(run(program, "tokenizer", "encode", "--tokenizer", file, "--input", folder / "text"))
        theirs = json.loads(run(llama / "llama-tokenize", "-m", path, "--ids", "--no-bos", "--no-parse-special", "--no-escape",
                                "--log-disable", "-f", folder / "text"))
        if ours != theirs:
            wrong.append(text)
    report(f"llama.cpp encodes like {name}", not wrong, f"{len(all_texts) - len(wrong)} of {len(all_texts)} texts"
           + "".join(f"\n        differs: {text[:60]!r}" for text in wrong[:8]))


def main():
    program, llama = pathlib.Path(sys.argv[1]).resolve(), pathlib.Path(sys.argv[2]).resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = pathlib.Path(name)
        for dtype in ("f32", "bf16", "f16"):
            path = folder / f"stories260K-{dtype}.gguf"
            run(program, "export", "--model", STORIES, "--dtype", dtype, path)
            check_values(path, dtype)
            check_story(llama, path, dtype)
        for tokenizer in ("stories260k", "phi-3", "gpt2", "phi-2"):
            check_tokenizer(program, llama, folder, tokenizer)
    return 1 if failures else 0


if __name__ == "__main__":
    sys.exit(main())
