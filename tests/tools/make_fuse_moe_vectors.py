#!/usr/bin/env python3
"""Writes tests/data/models/fuse_moe_small: a small FuseMoE layer of random weights, and what PyTorch makes of it.

Usage: make_fuse_moe_vectors.py OUTPUT_FOLDER. Needs torch and safetensors. The layer's tensors are float32; the answers
in expected.safetensors are computed in float64: inputs, weights (after smoothing), selected, selected_weights,
outputs. Inputs are drawn until no two neighbouring weights of a row are closer than 1e-4, so that float32 cannot
change the choice.
"""
import json
import os
import sys

import torch
from safetensors.torch import save_file
from torch.nn import functional as F

CONFIG = {"model_type": "fuse_moe", "num_experts": 5, "top_k": 3, "input_dim": 83, "expert_hidden_dim": 70,
          "output_dim": 37, "temperature": 0.7, "laplace_alpha": 0.05}
ROWS = 17


def make_weights(config, generator):
    def rand(*shape, mean=0.0, reach=1.0):
        return mean + reach * (2 * torch.rand(*shape, generator=generator) - 1)

    wide, hidden, out = config["input_dim"], config["expert_hidden_dim"], config["output_dim"]
    weights = {"gate.norm.weight": rand(wide, mean=1.1, reach=0.4), "gate.norm.bias": rand(wide, reach=0.3),
               "gate.weight": rand(config["num_experts"], wide, reach=0.2),
               "gate.bias": rand(config["num_experts"], reach=0.5)}
    for e in range(config["num_experts"]):
        weights[f"experts.{e}.fc1.weight"] = rand(hidden, wide, reach=0.3)
        weights[f"experts.{e}.fc1.bias"] = rand(hidden, reach=0.5)
        weights[f"experts.{e}.fc2.weight"] = rand(out, hidden, reach=0.3)
        weights[f"experts.{e}.fc2.bias"] = rand(out, reach=0.5)
    return weights


def route(config, w, x):
    z = F.layer_norm(x, (config["input_dim"],), w["gate.norm.weight"], w["gate.norm.bias"], 1e-5)
    p = torch.softmax(F.linear(z, w["gate.weight"], w["gate.bias"]) / config["temperature"], -1)
    alpha = config["laplace_alpha"]
    return (p + alpha) / (1 + alpha * config["num_experts"])


def forward(config, w, x):
    p = route(config, w, x)
    top, chosen = torch.topk(p, config["top_k"], dim=-1)
    top = top / top.sum(-1, keepdim=True)
    every = torch.stack([F.linear(F.gelu(F.linear(x, w[f"experts.{e}.fc1.weight"], w[f"experts.{e}.fc1.bias"]),
                                         approximate="tanh"),
                                  w[f"experts.{e}.fc2.weight"], w[f"experts.{e}.fc2.bias"])
                         for e in range(config["num_experts"])], 1)
    picked = torch.gather(every, 1, chosen[..., None].expand(-1, -1, config["output_dim"]))
    return p, chosen, top, (picked * top[..., None]).sum(1)


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    generator = torch.Generator().manual_seed(8320)
    weights = make_weights(CONFIG, generator)
    double = {name: value.double() for name, value in weights.items()}
    rows = []
    while len(rows) < ROWS:
        x = 3 * (2 * torch.rand(CONFIG["input_dim"], generator=generator) - 1)
        p = torch.sort(route(CONFIG, double, x.double()[None])[0]).values
        if (p[1:] - p[:-1]).min() > 1e-4:
            rows.append(x)
    x = torch.stack(rows)
    p, chosen, top, y = forward(CONFIG, double, x.double())
    save_file(weights, os.path.join(folder, "model.safetensors"), {"format": "pt"})
    save_file({"inputs": x, "weights": p.float(), "selected": chosen, "selected_weights": top.float(),
               "outputs": y.float()}, os.path.join(folder, "expected.safetensors"))
    with open(os.path.join(folder, "config.json"), "w", encoding="utf-8") as file:
        json.dump(CONFIG, file, indent=1)
        file.write("\n")


main()
