#!/usr/bin/env python3
"""Decoding and embedding on one GPU, with libnanochat and with PyTorch, on the same weights, in turns in one process; and
what the GPU can do: copies and a matrix product through PyTorch.

    compare_torch.py --library build/gpu/libnanochat.so [--out FILE] [--layers 20] [--tokens 128]

Needs torch with CUDA and transformers. Models are random ones of transformers, saved to a temporary folder that both load:
a Llama of the decoder's size (0.5 G parameters, bf16) and BERT models of MiniLM's and e5-large's. PyTorch's decoding is its
eager loop with a KV cache; its encoders run in bf16 with scaled_dot_product_attention. Prints one JSON object.
"""
import argparse
import ctypes
import json
import os
import pathlib
import sys
import tempfile
import time

import numpy as np
import torch
import transformers

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "bench"))
from compare_embed import Nanochat, SHAPES  # noqa: E402


def seconds(run, repeats=5):
    best = float("inf")
    for _ in range(repeats):
        torch.cuda.synchronize()
        began = time.perf_counter()
        run()
        torch.cuda.synchronize()
        best = min(best, time.perf_counter() - began)
    return best


def ceilings():
    n = 1 << 30
    host = torch.empty(n, dtype=torch.uint8, pin_memory=True)
    a = torch.randint(0, 255, (2 * n,), dtype=torch.uint8, device="cuda")
    b = torch.empty_like(a)
    x = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    y = torch.randn(8192, 8192, device="cuda", dtype=torch.bfloat16)
    x @ y
    return {"copy_bytes_per_second": 4 * n / seconds(lambda: b.copy_(a)),
            "host_to_device_bytes_per_second": n / seconds(lambda: a[:n].copy_(host, non_blocking=True)),
            "bf16_flops_per_second": 2 * 8192**3 / seconds(lambda: x @ y)}


class SessionOptions(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("capacity", ctypes.c_int64), ("kv_dtype", ctypes.c_int32),
                ("reserved", ctypes.c_int32)]


def decode(nano, folder, model, n_tokens, prompt):
    """Greedy tokens per second of both, over the same number of steps after the same prompt."""
    ids = torch.tensor([prompt], device="cuda")

    @torch.no_grad()
    def eager():
        cache, token, tokens = None, ids, []
        for _ in range(n_tokens):
            result = model(input_ids=token, past_key_values=cache, use_cache=True)
            cache, token = result.past_key_values, result.logits[:, -1:].argmax(-1)
            tokens.append(int(token))
        return tokens

    ours = nano.load(folder, "bf16")
    options = SessionOptions(struct_size=ctypes.sizeof(SessionOptions), capacity=len(prompt) + n_tokens + 1)
    logits = (ctypes.c_float * model.config.vocab_size)()
    values = np.ctypeslib.as_array(logits)

    def eval_tokens(session, tokens):
        array = (ctypes.c_int32 * len(tokens))(*tokens)
        error = ctypes.c_void_p()
        status = nano.lib.nanochat_session_eval(session, array, ctypes.c_size_t(len(tokens)), 1, logits,
                                                ctypes.c_size_t(len(values)), None, ctypes.byref(error))
        if status != 0:
            raise RuntimeError(nano.lib.nanochat_error_message(error).decode())
        return int(values.argmax())

    def library():
        session = nano.make("nanochat_session_create", ours, ctypes.byref(options))
        tokens = [eval_tokens(session, prompt)]
        while len(tokens) < n_tokens:
            tokens.append(eval_tokens(session, tokens[-1:]))
        nano.lib.nanochat_session_free(session)
        return tokens

    same = sum(a == b for a, b in zip(eager(), library()))
    theirs, our_time = seconds(eager, 3), seconds(library, 3)
    nano.lib.nanochat_model_free(ours)
    return {"decode_tokens_per_second": n_tokens / our_time, "decode_torch_tokens_per_second": n_tokens / theirs,
            "decode_ratio": theirs / our_time, "decode_same_greedy_tokens": same, "decode_tokens": n_tokens}


def embed(nano, folder, model, n_texts, length):
    rng = np.random.default_rng(1)
    rows = rng.integers(1000, 20000, (n_texts, length)).astype(np.int32)
    ids = torch.tensor(rows.astype(np.int64), device="cuda")

    @torch.no_grad()
    def theirs():
        return torch.nn.functional.normalize(model(input_ids=ids).last_hidden_state.float().mean(1), dim=1).cpu().numpy()

    ours = nano.load(folder, "bf16")
    a, b = theirs(), nano.embed(ours, rows)
    cosine = float(((a * b).sum(1) / np.linalg.norm(b, axis=1)).min())
    their_time, our_time = seconds(theirs), seconds(lambda: nano.embed(ours, rows))
    nano.lib.nanochat_model_free(ours)
    return {"texts_per_second": n_texts / our_time, "torch_texts_per_second": n_texts / their_time,
            "ratio": their_time / our_time, "least_cosine": cosine}


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True)
    parser.add_argument("--out")
    parser.add_argument("--layers", type=int, default=20)
    parser.add_argument("--tokens", type=int, default=128)
    parser.add_argument("--device", default="cuda:0")
    asked = parser.parse_args()
    nano = Nanochat(asked.library, 0, asked.device)
    result = ceilings()
    with tempfile.TemporaryDirectory() as folder:
        config = transformers.LlamaConfig(vocab_size=65536, hidden_size=1280, intermediate_size=5120,
                                          num_hidden_layers=asked.layers, num_attention_heads=10, num_key_value_heads=10,
                                          max_position_embeddings=2048, tie_word_embeddings=False)
        model = transformers.LlamaForCausalLM(config).to("cuda", torch.bfloat16).eval()
        model.save_pretrained(folder)
        result |= decode(nano, folder, model, asked.tokens, list(range(100, 116)))
        del model
    for shape, (layers, width, heads, inner) in SHAPES.items():
        with tempfile.TemporaryDirectory() as folder:
            config = transformers.BertConfig(hidden_size=width, num_hidden_layers=layers, num_attention_heads=heads,
                                             intermediate_size=inner)
            model = transformers.BertModel(config, add_pooling_layer=False).to("cuda", torch.bfloat16).eval()
            model.save_pretrained(folder)
            for n_texts, length in ((1, 16), (32, 128)):
                found = embed(nano, folder, model, n_texts, length)
                result |= {f"{shape} {n_texts}x{length} {key}": value for key, value in found.items()}
    text = json.dumps(result, indent=1)
    print(text)
    if asked.out:
        pathlib.Path(asked.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
