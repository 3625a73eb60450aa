#!/usr/bin/env python3
"""Shows that transformers with compressed-tensors reads a directory that `nanochat quantize` wrote, and computes the same.

    python tests/tools/check_int8_directory.py build/release/bin/nanochat DIRECTORY

DIRECTORY: int8, Llama architecture, untied head. Compares logits of some tokens with those of `nanochat forward --dtype
f32`, which multiplies with integer times scale as transformers does. Needs torch, transformers, compressed-tensors,
safetensors.
"""
import json
import subprocess
import sys
import tempfile

import torch
from safetensors.torch import load_file
from transformers import AutoModelForCausalLM


def main():
    program, directory = sys.argv[1], sys.argv[2]
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.eval()
    n = model.config.vocab_size
    tokens = [(7 * i + 3) % n for i in range(24)]
    with tempfile.TemporaryDirectory() as folder:
        with open(folder + "/rows.json", "w") as rows:
            json.dump([tokens], rows)
        subprocess.run([program, "forward", "--model", directory, "--dtype", "f32", "--tokens", folder + "/rows.json",
                        "--out", folder + "/logits.safetensors"], check=True)
        ours = load_file(folder + "/logits.safetensors")["logits"][0]
    with torch.no_grad():
        theirs = model(torch.tensor([tokens])).logits[0]
    difference = (ours - theirs).abs().max().item()
    print(json.dumps({"int8": getattr(model.config, "quantization_config", None) is not None,
                      "largest_logit": theirs.abs().max().item(), "largest_difference": difference}))
    return 0 if difference < 1e-4 * max(1.0, theirs.abs().max().item()) else 1


sys.exit(main())
