#!/usr/bin/env python3
"""Holds `nanochat perplexity` against PyTorch: the same windows through transformers, sums in double precision.

    python tests/tools/check_perplexity.py build/release/bin/nanochat MODEL TEXT TOKENS [CONTEXT]

MODEL is a directory of the Llama architecture that transformers loads too; for int8 directories the package
compressed-tensors must be installed, and what it makes of the weights is told. Needs torch, transformers, tokenizers.
"""
import json
import math
import subprocess
import sys

import torch
from tokenizers import Tokenizer
from transformers import AutoConfig, AutoModelForCausalLM


def main():
    program, directory, text, n_tokens = sys.argv[1], sys.argv[2], sys.argv[3], int(sys.argv[4])
    config = AutoConfig.from_pretrained(directory)
    context = int(sys.argv[5]) if len(sys.argv) > 5 else config.max_position_embeddings
    is_int8 = getattr(config, "quantization_config", None) is not None
    ours = json.loads(subprocess.run(
        [program, "perplexity", "--model", directory, text, "--tokens", str(n_tokens), "--context", str(context), "--json"]
        + (["--dtype", "f32"] if is_int8 else []), check=True, capture_output=True).stdout)
    model = AutoModelForCausalLM.from_pretrained(directory, dtype=torch.float32)
    model.eval()
    ids = Tokenizer.from_file(directory + "/tokenizer.json").encode(open(text).read(), add_special_tokens=False).ids[:n_tokens]
    total, step = 0.0, context - 1
    with torch.no_grad():
        for begin in range(0, len(ids), step):
            window = torch.tensor([[config.bos_token_id] + ids[begin:begin + step]])
            logits = model(window).logits[0, :-1].double()
            total += torch.nn.functional.cross_entropy(logits, window[0, 1:], reduction="sum").item()
    theirs = total / len(ids)
    print(json.dumps({"int8": is_int8, "tokens": len(ids), "context": context, "nanochat_nll": ours["nll"], "torch_nll": theirs,
                      "difference": ours["nll"] - theirs, "torch_perplexity": math.exp(theirs)}))
    return 0 if ours["tokens"] == len(ids) and abs(ours["nll"] - theirs) < 1e-5 else 1


sys.exit(main())
