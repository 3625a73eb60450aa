#!/usr/bin/env python3
"""Writes tests/data/embedders: what docs/embedders.md defines, computed by other means than the library's.

Usage: make_embedder_vectors.py OUTPUT_FOLDER [--table]. Needs numpy and mpmath (120 digits for everything temporal, so
that each float is the exact value rounded once). --table prints the frequencies of src/encoder/sinusoid_table.cc instead.
"""
import datetime
import json
import os
import struct
import sys

import mpmath as mp
import numpy as np

mp.mp.dps = 120
TIMES = ["2026-01-03T12:00:00Z", "1970-01-01T00:00:00Z", "1969-12-31T23:59:59.75Z", "2024-02-29T23:59:60Z",
         "2026-01-03t13:30:00.123456789+01:30", "2000-12-31 18:00:00-06:00", "0001-01-01T00:00:00Z",
         "9999-12-31T23:59:59.999Z", "0", "-1.5", "4102444799.5", "123456.789", "1767441600", "511"]
REFERENCE = 4102444800
NOW = "2026-01-04T00:00:00Z"
PERIODS = [60, 3600, 86400, 604800, 2629746, 7889238, 31556952, 315569520]
TEXTS = ["hyperdimensional test", "", "a", "ab", "The quick brown fox jumps over the lazy dog",
         "the quick brown fox jumped over a lazy dog", "gr\u00fc\u00dfe \u4e16\u754c \U0001F600", "x" * 300]
RAW_TEXTS = [b"\xff\xfeabc\xe2\x82", b"\xed\xa0\x80z"]


def seconds_of(text):
    """Exact seconds after 1970 as a fraction."""
    try:
        return mp.mpf(float(text))
    except ValueError:
        pass
    text = text.upper().replace(" ", "T").replace("Z", "+00:00")
    date, rest = text.split("T")
    split = max(rest.rfind("+"), rest.rfind("-"))
    clock, offset = rest[:split], rest[split:]
    hour, minute, second = clock.split(":")
    whole, _, decimals = second.partition(".")
    days = datetime.date.fromisoformat(date).toordinal() - datetime.date(1970, 1, 1).toordinal()
    sign = -1 if offset[0] == "-" else 1
    shift = sign * (int(offset[1:3]) * 3600 + int(offset[4:6]) * 60)
    fraction = mp.mpf(float(int(decimals.ljust(9, "0")) / 1e9)) if decimals else mp.mpf(0)
    return days * 86400 + int(hour) * 3600 + int(minute) * 60 + int(whole) - shift + fraction


def recent(time, reference):
    age = max(reference - time, mp.mpf(0))
    values = [mp.power(2, -age / mp.power(2, mp.mpf(32 * i) / 511)) for i in range(512)]
    length = mp.sqrt(mp.fsum(v * v for v in values))
    return [v / length for v in values]


def periodic(time):
    length = mp.sqrt(8 * mp.fsum(mp.mpf(1) / (k * k) for k in range(1, 33)))
    values = []
    for period in PERIODS:
        for k in range(1, 33):
            angle = 2 * mp.pi * k * time / period
            values += [mp.cos(angle) / k / length, mp.sin(angle) / k / length]
    return values


def frequency(i):
    """In turns, times 2^64."""
    return int(mp.nint(mp.power(2, 64) * mp.power(10000, mp.mpf(-2 * i) / 512) / (2 * mp.pi)))


def positional(position):
    values = []
    for i in range(256):
        angle = 2 * mp.pi * position * frequency(i) / mp.power(2, 64)
        values += [mp.sin(angle) / 16, mp.cos(angle) / 16]
    return values


def philox(seed, stream, block):
    counter = [block & 0xffffffff, block >> 32, stream & 0xffffffff, stream >> 32]
    key = [seed & 0xffffffff, seed >> 32]
    for _ in range(10):
        a, b = 0xD2511F53 * counter[0], 0xCD9E8D57 * counter[2]
        counter = [(b >> 32) ^ counter[1] ^ key[0], b & 0xffffffff, (a >> 32) ^ counter[3] ^ key[1], a & 0xffffffff]
        key = [(key[0] + 0x9E3779B9) & 0xffffffff, (key[1] + 0xBB67AE85) & 0xffffffff]
    return counter


def random_bits(seed, stream, n):
    bits = []
    block = 0
    while len(bits) < n:
        for word in philox(seed, stream, block):
            bits += [word >> i & 1 for i in range(32)]
        block += 1
    return np.array(bits[:n], dtype=np.int64)


SYMBOLS = {}


def symbol(number):
    if number not in SYMBOLS:
        SYMBOLS[number] = random_bits(10000, number, 10000)
    return SYMBOLS[number]


def hyperdimensional(raw):
    symbols = [0x110100, 0x110100]
    for character in raw.decode("utf-8", "surrogateescape"):
        code = ord(character)
        symbols.append(0x110000 + code - 0xdc00 if 0xdc80 <= code <= 0xdcff else code)
    symbols.append(0x110101)
    ones = np.zeros(10000, dtype=np.int64)
    for a, b, c in zip(symbols, symbols[1:], symbols[2:]):
        ones += np.roll(symbol(a), 2) ^ np.roll(symbol(b), 1) ^ symbol(c)
    n = len(symbols) - 2
    return np.where(2 * ones == n, symbol(0x110102), (2 * ones > n).astype(np.int64))


def signs(number, i, n_out):
    return 1 - 2 * random_bits(8320, number << 32 | i, n_out)


def project(number, n_out, pairs):
    sums = np.zeros(n_out)
    for i, value in pairs:
        sums += signs(number, i, n_out) * float(value)
    return (sums / np.sqrt(float(n_out))).astype(np.float32)


def save(path, tensors):
    header, data = {}, b""
    kinds = {"float32": "F32", "uint8": "U8", "int64": "I64"}
    for name, array in sorted(tensors.items(), key=lambda item: -item[1].itemsize):
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": kinds[str(array.dtype)], "shape": list(array.shape),
                        "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


def floats(rows):
    """mpmath to float32, rounded once: via double only where that cannot matter."""
    out = np.zeros((len(rows), len(rows[0])), dtype=np.float32)
    for r, row in enumerate(rows):
        for c, value in enumerate(row):
            double = float(value)
            near = np.float32(double)
            for other in (np.nextafter(near, np.float32(np.inf)), np.nextafter(near, np.float32(-np.inf))):
                if abs(mp.mpf(float(other)) - value) < abs(mp.mpf(float(near)) - value):
                    near = other
            out[r, c] = near
    return out


def main():
    if "--table" in sys.argv:
        for i in range(256):
            print(f"0x{frequency(i):016x},")
        return
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    times = [seconds_of(text) for text in TIMES]
    now = seconds_of(NOW)
    raw_texts = [text.encode() for text in TEXTS] + RAW_TEXTS
    vectors = [hyperdimensional(raw) for raw in raw_texts]
    rng = np.random.default_rng(1)
    code = rng.standard_normal((2, 256)).astype(np.float32)
    indices = np.sort(rng.choice(30522, 40, replace=False)).astype(np.int64)
    activations = rng.random(40).astype(np.float32)
    tokens = rng.standard_normal((5, 128)).astype(np.float32)
    pooled = tokens.astype(np.float64).mean(0)
    save(os.path.join(folder, "expected.safetensors"), {
        "recent": floats([recent(time, mp.mpf(REFERENCE)) for time in times]),
        "recent_now": floats([recent(time, now) for time in times]),
        "periodic": floats([periodic(time) for time in times]),
        "positional": floats([positional(time) for time in times]),
        "hypervectors": np.stack([np.packbits(v.astype(np.uint8), bitorder="little") for v in vectors]),
        "hdc_parts": np.stack([project(9, 1024, enumerate((2 * v - 1) / 100.0)) for v in vectors[:2]]),
        "code": code, "code_parts": np.stack([project(7, 768, enumerate(row)) for row in code]),
        "sparse_indices": indices, "sparse_values": activations,
        "sparse_part": project(6, 1536, zip(indices.tolist(), activations)),
        "tokens": tokens, "token_part": (pooled / np.linalg.norm(pooled)).astype(np.float32)})
    with open(os.path.join(folder, "inputs.json"), "w", encoding="ascii") as file:
        json.dump({"times": TIMES, "now": NOW, "texts_hex": [raw.hex() for raw in raw_texts]}, file, indent=1)
        file.write("\n")


main()
