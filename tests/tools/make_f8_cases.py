#!/usr/bin/env python3
"""Writes tests/data/dtype/f8_e4m3.txt: what PyTorch (any version with float8_e4m3fn) makes of codes and floats.

    python3 tests/tools/make_f8_cases.py > tests/data/dtype/f8_e4m3.txt

Lines "code CODE BITS" have the float32 bits of a code's value, lines "float BITS CODE" what a float becomes. Values
are limited to +-448 before: PyTorch does not saturate.
"""

import random
import struct

import torch


def bits_of(values):
    return [struct.unpack("<I", struct.pack("<f", value))[0] for value in values]


def main():
    codes = torch.arange(256, dtype=torch.uint8)
    values = codes.view(torch.float8_e4m3fn).to(torch.float32)
    for code, bits in enumerate(bits_of(values.tolist())):
        print(f"code {code:02x} {bits:08x}")
    random.seed(1)
    floats = [0.0, -0.0, 448.0, -448.0, 464.0, 1e30, -1e30, 2.0**-10, 1.5 * 2.0**-10, 2.0**-9, 1e-20, 1e-42]
    numbers = sorted(value for value in values.tolist() if value == value)
    for low, high in zip(numbers, numbers[1:]):
        floats.append((low + high) / 2)  # ties
    for _ in range(1200):
        floats.append(random.choice((-1, 1)) * 2.0 ** random.uniform(-12, 9))
    tensor = torch.tensor(floats, dtype=torch.float32)
    rounded = tensor.clamp(-448.0, 448.0).to(torch.float8_e4m3fn).view(torch.uint8).tolist()
    for bits, code in zip(bits_of(tensor.tolist()), rounded):
        print(f"float {bits:08x} {code:02x}")


if __name__ == "__main__":
    main()
