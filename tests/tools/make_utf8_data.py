"""Makes tests/data/utf8/stress.bin and stress.replaced.txt: random byte strings in which broken UTF-8 sequences are
frequent, and what CPython decodes them to with errors="replace". Run from the root of the repository."""
import pathlib
import random

# Bytes at the edges of the ranges of Unicode's table of well-formed sequences.
EDGES = bytes.fromhex("00 41 7f 80 8f 90 9f a0 bf c0 c1 c2 df e0 e1 ec ed ee ef f0 f1 f3 f4 f5 f8 fe ff")
CODEPOINTS = (0x7F, 0x80, 0x7FF, 0x800, 0xD7FF, 0xE000, 0xFFFD, 0xFFFF, 0x10000, 0x10FFFF)


def piece(rng):
    kind = rng.randrange(4)
    if kind == 0:
        return bytes(rng.choice(EDGES) for _ in range(rng.randrange(1, 5)))
    whole = chr(rng.choice(CODEPOINTS)).encode()
    if kind == 1:
        return whole[: rng.randrange(1, len(whole) + 1)]
    return whole if kind == 2 else b"plain text"


def main():
    rng = random.Random(20250101)
    data = b"".join(piece(rng) for _ in range(4000))
    folder = pathlib.Path("tests/data/utf8")
    (folder / "stress.bin").write_bytes(data)
    (folder / "stress.replaced.txt").write_bytes(data.decode("utf-8", errors="replace").encode())


main()
