#!/usr/bin/env python3
"""Writes the pictures that the command line's tests read. Needs Pillow.

    make_pictures.py tests/data/images
"""
import sys

from PIL import Image


def main() -> None:
    folder = sys.argv[1]
    picture = Image.new("RGB", (60, 40))
    picture.putdata([(4 * x, 6 * y, 255 - 3 * (x + y) // 2) for y in range(40) for x in range(60)])
    picture.save(f"{folder}/stripes.png", optimize=True)
    picture.save(f"{folder}/stripes.jpg", quality=97)
    clear = picture.convert("RGBA")
    clear.putalpha(Image.linear_gradient("L").resize((60, 40)))
    clear.save(f"{folder}/clear.png", optimize=True)


if __name__ == "__main__":
    main()
