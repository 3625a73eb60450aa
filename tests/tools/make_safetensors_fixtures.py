#!/usr/bin/env python3
"""Writes tests/data/safetensors/*.safetensors with the reference implementation (pip install safetensors==0.5.3 numpy).

Element i of each tensor is the byte pattern below, so that the tests can say what they must read.

usage: make_safetensors_fixtures.py tests/data/safetensors
       make_safetensors_fixtures.py --check FILE     prints what the reference implementation reads from FILE
"""
import hashlib
import pathlib
import sys

import numpy as np
from safetensors import deserialize, serialize_file

SIZES = {"BOOL": 1, "U8": 1, "I8": 1, "F8_E4M3": 1, "F8_E5M2": 1, "I16": 2, "U16": 2, "F16": 2, "BF16": 2,
         "I32": 4, "U32": 4, "F32": 4, "F64": 8, "I64": 8, "U64": 8}
NUMPY = {"F8_E4M3": "float8_e4m3fn", "F8_E5M2": "float8_e5m2", "BF16": "bfloat16", "F16": "float16",
         "F32": "float32", "F64": "float64", "BOOL": "bool"}


def pattern(n, seed):
    return bytes((i * 7 + seed) % 251 for i in range(n))


def tensor(dtype, shape, seed):
    name = NUMPY.get(dtype) or dtype.replace("U", "uint").replace("I", "int")
    data = pattern(int(np.prod(shape)) * SIZES[dtype], seed)
    if dtype == "BOOL":
        data = bytes(b & 1 for b in data)
    return {"dtype": name, "shape": shape, "data": data}


def write(folder):
    every_type = {f"type.{d}": tensor(d, [3, 2], i) for i, d in enumerate(SIZES)}
    serialize_file(every_type, folder / "every_type.safetensors", {"format": "pt", "made by": "safetensors"})
    shapes = {
        "scalar": tensor("F32", [], 1),
        "empty": tensor("F32", [0, 4], 2),
        "vector": tensor("F32", [5], 3),
        "deep": tensor("F32", [1, 2, 1, 2, 1, 2, 1, 2], 4),
        'näme "quoted" \\ \n 语言 😀': tensor("F32", [2], 5),
    }
    serialize_file(shapes, folder / "shapes.safetensors", None)
    serialize_file({}, folder / "no_tensors.safetensors", None)


def check(path):
    for name, info in sorted(deserialize(path.read_bytes())):
        digest = hashlib.sha256(bytes(info["data"])).hexdigest()[:16]
        print(name.encode("unicode_escape").decode(), info["dtype"], info["shape"], digest)


if sys.argv[1] == "--check":
    check(pathlib.Path(sys.argv[2]))
else:
    write(pathlib.Path(sys.argv[1]))
