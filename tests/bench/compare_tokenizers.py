#!/usr/bin/env python3
"""Prints one table: this library, tiktoken and tokenizers on the same texts, in turns, medians of several rounds.

See compare_tokenizers.md. Peers that are not installed are left out.
"""

import argparse
import ctypes
import os
import statistics
import threading
import time

os.environ.setdefault("TOKENIZERS_PARALLELISM", "false")

PATTERNS = {  # of our header, and as tiktoken has them
    "r50k_base": (2, r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""),
    "p50k_base": (2, r"""'(?:[sdmt]|ll|ve|re)| ?\p{L}++| ?\p{N}++| ?[^\s\p{L}\p{N}]++|\s++$|\s+(?!\S)|\s"""),
    "cl100k_base": (3, r"""'(?i:[sdmt]|ll|ve|re)|[^\r\n\p{L}\p{N}]?+\p{L}++|\p{N}{1,3}+| ?[^\s\p{L}\p{N}]++[\r\n]*+|\s++$|\s*[\r\n]|\s+(?!\S)|\s"""),
    "o200k_base": (4, r"""[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]*[\p{Ll}\p{Lm}\p{Lo}\p{M}]+(?i:'s|'t|'re|'ve|'m|'ll|'d)?|[^\r\n\p{L}\p{N}]?[\p{Lu}\p{Lt}\p{Lm}\p{Lo}\p{M}]+[\p{Ll}\p{Lm}\p{Lo}\p{M}]*(?i:'s|'t|'re|'ve|'m|'ll|'d)?|\p{N}{1,3}| ?[^\s\p{L}\p{N}]+[\r\n/]*|\s*[\r\n]+|\s+(?!\S)|\s+"""),
}
CHUNK = 1 << 20  # bytes a call, at most


class Options(ctypes.Structure):
    _fields_ = [("struct_size", ctypes.c_size_t), ("names", ctypes.c_void_p), ("ids", ctypes.c_void_p),
                ("n", ctypes.c_size_t), ("pattern", ctypes.c_int32), ("reserved", ctypes.c_int32)]


class Ours:
    name = "nanochat"

    def __init__(self, library, path, pattern):
        self.lib = library
        self.runtime, self.handle, error = ctypes.c_void_p(), ctypes.c_void_p(), ctypes.c_void_p()
        if library.nanochat_runtime_create(None, ctypes.byref(self.runtime), ctypes.byref(error)):
            raise SystemExit("no runtime")
        options = Options(ctypes.sizeof(Options), None, None, 0, pattern, 0)
        library.nanochat_error_message.restype = ctypes.c_char_p
        if library.nanochat_tokenizer_load(self.runtime, path.encode(), ctypes.byref(options), ctypes.byref(self.handle),
                                           ctypes.byref(error)):
            raise SystemExit(library.nanochat_error_message(error).decode())
        self.buffers = []  # those of threads that have ended

    def close(self):
        self.lib.nanochat_tokenizer_free(self.handle)
        self.lib.nanochat_runtime_free(self.runtime)

    def prepare(self, texts):
        return [text.encode() for text in texts]

    def encode(self, texts):
        buffer = self.buffers.pop() if self.buffers else (ctypes.c_int32 * CHUNK)()
        total, n = 0, ctypes.c_size_t()
        for text in texts:
            status = self.lib.nanochat_tokenizer_encode(
                self.handle, text, ctypes.c_size_t(len(text)), ctypes.c_uint32(0), buffer,
                ctypes.c_size_t(CHUNK), ctypes.byref(n), None)
            assert status == 0
            total += n.value
        self.buffers.append(buffer)
        return total

    def ids(self, text):
        n = self.encode([text])
        return list(self.buffers[-1][:n])

    def count(self, text):
        n = ctypes.c_size_t()
        assert self.lib.nanochat_tokenizer_count(self.handle, text, ctypes.c_size_t(len(text)), ctypes.c_uint32(0),
                                                 ctypes.byref(n), None) == 0
        return n.value

    def decoder(self, ids):
        array = (ctypes.c_int32 * len(ids))(*ids)

        def decode():
            text = ctypes.c_void_p()
            assert self.lib.nanochat_tokenizer_decode(self.handle, array, ctypes.c_size_t(len(ids)), 0,
                                                      ctypes.byref(text), None) == 0
            self.lib.nanochat_text_free(text)
        return decode


class Tiktoken:
    name = "tiktoken"

    def __init__(self, path, pattern):
        import tiktoken
        from tiktoken.load import load_tiktoken_bpe
        self.encoding = tiktoken.Encoding("compared", pat_str=pattern, mergeable_ranks=load_tiktoken_bpe(path),
                                          special_tokens={})

    def close(self):
        pass

    def prepare(self, texts):
        return texts

    def encode(self, texts):
        return sum(len(self.encoding.encode_ordinary(text)) for text in texts)

    def ids(self, text):
        return self.encoding.encode_ordinary(text)

    count = None

    def decoder(self, ids):
        return lambda: self.encoding.decode_bytes(ids)


class HuggingFace:
    name = "tokenizers"

    def __init__(self, path):
        import tokenizers
        self.tokenizer = tokenizers.Tokenizer.from_file(path)

    def close(self):
        pass

    def prepare(self, texts):
        return texts

    def encode(self, texts):
        fast = getattr(self.tokenizer, "encode_batch_fast", self.tokenizer.encode_batch)
        return sum(len(encoding.ids) for text in texts for encoding in fast([text], add_special_tokens=False))

    def ids(self, text):
        return self.tokenizer.encode(text, add_special_tokens=False).ids

    count = None

    def decoder(self, ids):
        return lambda: self.tokenizer.decode(ids)


def processor_seconds(call):
    start = time.process_time()
    call()
    return time.process_time() - start


def wall_seconds(call):
    start = time.perf_counter()
    call()
    return time.perf_counter() - start


def in_turns(calls, rounds, clock):
    """calls: name -> callable. One after another, round by round; the median of each."""
    times = {name: [] for name in calls}
    for _ in range(rounds):
        for name, call in calls.items():
            times[name].append(clock(call))
    return {name: statistics.median(values) for name, values in times.items()}


def on_threads(engine, texts, n):
    shares = [texts[i::n] for i in range(n)]
    threads = [threading.Thread(target=engine.encode, args=(share,)) for share in shares]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()


def chunks(text):
    result, begin = [], 0
    while begin < len(text):
        end = begin + CHUNK // 4
        cut = text.rfind("\n", begin, end) + 1 if end < len(text) else len(text)
        end = cut if cut > begin else end
        result.append(text[begin:end])
        begin = end
    return result


def row(label, figures, unit, better_is="more"):
    first = next(iter(figures.values()))
    cells = []
    for i, (name, value) in enumerate(figures.items()):
        ratio = first / value if better_is == "more" else value / first
        cells.append(f"{name} {value:9.1f} {unit}" + ("" if i == 0 else f" ({ratio:.1f}x)"))
    print(f"{label:34}  " + "   ".join(cells), flush=True)


def read(path, limit):
    with open(path, "rb") as file:
        return file.read(limit).decode("utf-8", errors="ignore")


def engines_of(arguments, library, vocabulary):
    makers = {}
    if vocabulary.endswith(".json"):
        makers["nanochat"] = lambda: Ours(library, vocabulary, 0)
        makers["tokenizers"] = lambda: HuggingFace(vocabulary)
    else:
        name = os.path.basename(vocabulary).removesuffix(".tiktoken")
        ours, theirs = PATTERNS[name]
        makers["nanochat"] = lambda: Ours(library, vocabulary, ours)
        makers["tiktoken"] = lambda: Tiktoken(vocabulary, theirs)
    engines = {}
    for name in list(makers):
        try:
            engines[name] = makers[name]()
        except ImportError:
            del makers[name]
    return makers, engines


def compare(arguments, library, vocabulary):
    print(f"\n{os.path.relpath(vocabulary)}")
    makers, engines = engines_of(arguments, library, vocabulary)
    loads = in_turns({name: (lambda make=make: make().close()) for name, make in makers.items()}, arguments.rounds,
                     processor_seconds)
    row("load", {name: 1000 * value for name, value in loads.items()}, "ms", "less")
    for label, path in arguments.text:
        text = read(path, arguments.bytes)
        size = len(text.encode()) / 1e6
        prepared = {name: engine.prepare(chunks(text)) for name, engine in engines.items()}
        ids = {name: [engine.ids(part) for part in prepared[name][:8]] for name, engine in engines.items()}
        same = all(value == ids["nanochat"] for value in ids.values())
        calls = {name: (lambda e=engine, t=prepared[name]: e.encode(t)) for name, engine in engines.items()}
        times = in_turns(calls, arguments.rounds, processor_seconds)
        row(f"{label}, encode" + ("" if same else " (ids differ!)"), {n: size / t for n, t in times.items()}, "MB/s")
        times = in_turns({n: (lambda e=e, t=prepared[n]: on_threads(e, t, 2)) for n, e in engines.items()},
                         arguments.rounds, wall_seconds)
        row(f"{label}, two threads (wall)", {n: size / t for n, t in times.items()}, "MB/s")
        flat = {name: [i for part in parts for i in part] for name, parts in ids.items()}
        times = in_turns({n: e.decoder(flat[n]) for n, e in engines.items()}, arguments.rounds, processor_seconds)
        row(f"{label}, decode", {n: len(flat[n]) / t / 1e6 for n, t in times.items()}, "M tokens/s")
    if arguments.run_mb:
        ours = engines["nanochat"]
        text = b"a" * (arguments.run_mb * 1000 * 1000)
        half = text[:len(text) // 2]
        times = in_turns({"half": lambda: ours.count(half), "whole": lambda: ours.count(text)}, 3, processor_seconds)
        print(f"one letter, {arguments.run_mb} MB: {times['whole']:.2f} s, time(2n) / time(n) = "
              f"{times['whole'] / times['half']:.2f}")
    for engine in engines.values():
        engine.close()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--library", required=True, help="libnanochat.so")
    parser.add_argument("--vocabulary", action="append", required=True, metavar="FILE",
                        help="<name>.tiktoken (against tiktoken) or tokenizer.json (against tokenizers); repeat")
    parser.add_argument("--text", action="append", required=True, metavar="LABEL=FILE", help="UTF-8 text; repeat",
                        type=lambda value: tuple(value.split("=", 1)))
    parser.add_argument("--bytes", type=int, default=8_000_000, help="of each text, at most")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--run-mb", type=int, default=0, help="also a run of one letter, ours alone")
    arguments = parser.parse_args()
    library = ctypes.CDLL(os.path.abspath(arguments.library))
    for vocabulary in arguments.vocabulary:
        compare(arguments, library, vocabulary)


if __name__ == "__main__":
    main()
