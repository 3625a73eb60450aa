#!/usr/bin/env python3
"""Writes tests/data/images/expected.safetensors: images resized, cropped and normalised by Pillow and numpy.

Usage: make_image_vectors.py OUTPUT_FOLDER. Needs Pillow and numpy. Tensors are called "WIDTHxHEIGHT_EDGE_CROP": the
8-bit pixels [crop, crop, 3] of image(WIDTH, HEIGHT) after Image.resize(BICUBIC) of its shorter side to EDGE and a
centre crop; "normalised" holds the float32 values [3, 32, 32] of the first, as CLIPImageProcessor computes them.
"""
import json
import os
import struct
import sys

import numpy as np
from PIL import Image

CASES = [(100, 75, 32, 32), (640, 480, 224, 224), (37, 61, 48, 40), (224, 224, 224, 33), (225, 224, 224, 33),
         (1, 1, 32, 32), (1, 180, 24, 24), (1700, 9, 20, 20), (1023, 767, 64, 31), (33, 32, 31, 31), (5, 3, 224, 30)]
MEAN = [0.48145466, 0.4578275, 0.40821073]
STD = [0.26862954, 0.26130258, 0.27577711]


def image(width, height):
    """Noise and ramps in squares of 8; unit_encoder makes the same."""
    x = np.arange(width, dtype=np.uint32)[None, :, None]
    y = np.arange(height, dtype=np.uint32)[:, None, None]
    c = np.arange(3, dtype=np.uint32)[None, None, :]
    noise = ((x * np.uint32(73856093) ^ y * np.uint32(19349663) ^ c * np.uint32(83492791)) * np.uint32(2654435761)) >> 24
    ramp = (3 * x + 5 * y + 50 * c) & 255
    return np.where((x // 8 + y // 8) % 2 == 1, ramp, noise).astype(np.uint8)


def resized_crop(pixels, edge, crop):
    height, width = pixels.shape[:2]
    size = (edge, int(edge * height / width)) if width <= height else (int(edge * width / height), edge)
    out = np.asarray(Image.fromarray(pixels).resize(size, Image.Resampling.BICUBIC))
    top, left = (size[1] - crop) // 2, (size[0] - crop) // 2
    return out[top:top + crop, left:left + crop]


def main():
    folder = sys.argv[1]
    os.makedirs(folder, exist_ok=True)
    tensors = {}
    for width, height, edge, crop in CASES:
        tensors[f"{width}x{height}_{edge}_{crop}"] = resized_crop(image(width, height), edge, crop)
    first = (tensors["100x75_32_32"].astype(np.float64) * (1 / 255)).astype(np.float32)
    normalised = (first - np.array(MEAN, dtype=np.float32)) / np.array(STD, dtype=np.float32)
    header, data = {}, np.ascontiguousarray(normalised.transpose(2, 0, 1)).tobytes()
    header["normalised"] = {"dtype": "F32", "shape": [3, 32, 32], "data_offsets": [0, len(data)]}
    for name, array in tensors.items():
        raw = np.ascontiguousarray(array).tobytes()
        header[name] = {"dtype": "U8", "shape": list(array.shape), "data_offsets": [len(data), len(data) + len(raw)]}
        data += raw
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % 8)
    with open(os.path.join(folder, "expected.safetensors"), "wb") as file:
        file.write(struct.pack("<Q", len(text)) + text + data)


main()
