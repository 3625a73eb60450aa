#!/usr/bin/env python3
"""Makes the tiny models of tests/data/models/hf_* with PyPI's transformers (5.x) and torch.

    python make_hugging_face_models.py <tests/data/models>

Each folder is what save_pretrained() writes, plus expected.safetensors: `tokens` [T] and `logits` [T, V] of
one forward pass in float32, `logits_float64`, the same pass in double precision, and `states_float64` [T, C], its last
hidden states (after the final norm).
Every parameter is random, norm weights too, so that no term of the formulas is neutral.
"""
import pathlib
import shutil
import sys

import torch
from safetensors.torch import save_file
from transformers import LlamaConfig, LlamaForCausalLM, NanoChatConfig, NanoChatForCausalLM

COMMON = dict(vocab_size=101, max_position_embeddings=64, bos_token_id=3)
CASES = {
    "hf_nanochat": (
        NanoChatForCausalLM,
        NanoChatConfig(hidden_size=32, intermediate_size=128, num_hidden_layers=3, num_attention_heads=4,
                       num_key_value_heads=2, eos_token_id=5, pad_token_id=3, **COMMON),
        dict(),
    ),
    "hf_llama_gqa_sharded": (
        LlamaForCausalLM,
        LlamaConfig(hidden_size=48, intermediate_size=72, num_hidden_layers=3, num_attention_heads=6,
                    num_key_value_heads=2, head_dim=12, rms_norm_eps=1e-5, eos_token_id=[5, 7],
                    rope_parameters={"rope_type": "default", "rope_theta": 50000.0},
                    tie_word_embeddings=False, **COMMON),
        dict(max_shard_size="40KB"),
    ),
}


def randomise(model, seed):
    generator = torch.Generator().manual_seed(seed)
    with torch.no_grad():
        for name, parameter in sorted(model.named_parameters()):
            noise = torch.randn(parameter.shape, generator=generator)
            if parameter.dim() == 1:
                parameter.copy_(1.1 + 0.2 * noise)
            elif "embed_tokens" in name:
                parameter.copy_(noise)
            else:
                parameter.copy_(noise * 1.5 / parameter.shape[1] ** 0.5)


def main():
    root = pathlib.Path(sys.argv[1])
    torch.set_num_threads(1)
    for number, (name, (kind, config, options)) in enumerate(CASES.items()):
        config._attn_implementation = "eager"
        model = kind(config).eval()
        randomise(model, 1000 + number)
        tokens = torch.randint(0, config.vocab_size, (1, 40), generator=torch.Generator().manual_seed(number))
        with torch.no_grad():
            logits = model(tokens).logits[0].float()
            logits64 = model.double()(tokens).logits[0]
            states64 = model.model(tokens).last_hidden_state[0]
            model.float()
        print(name, "largest logit", logits.abs().max().item(),
              "float32 against float64", (logits - logits64).abs().max().item())
        folder = root / name
        shutil.rmtree(folder, ignore_errors=True)
        model.save_pretrained(folder, **options)
        (folder / "generation_config.json").unlink(missing_ok=True)
        save_file({"tokens": tokens[0], "logits": logits, "logits_float64": logits64.float(),
                   "states_float64": states64.float()},
                  folder / "expected.safetensors")


main()
