#!/usr/bin/env python3
"""Writes tests/data/calculator/vectors.tsv: expressions and what Python makes of them.

Usage: make_calculator_vectors.py OUTPUT. One line per expression: the expression as a JSON string, a tab, and
the result as a JSON string or null. Only expressions of the language that src/infer/calculator.h describes.
"""
import json
import random
import re
import sys
import warnings

ARITHMETIC = "0123456789*+-/.() "
FORBIDDEN = ("__ import exec eval compile open file input raw_input globals locals vars dir "
             "getattr setattr delattr hasattr").split()


def reference(expression):
    """The documented rules, with Python itself as the evaluator."""
    text = expression.replace(",", "")
    if set(text) <= set(ARITHMETIC):
        if "**" in text:
            return None
    else:
        if not re.fullmatch(r"[A-Za-z0-9_'\"(). ]*", text) or ".count(" not in text:
            return None
        if any(word in text.lower() for word in FORBIDDEN):
            return None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            value = eval(text, {"__builtins__": {}}, {})
            return None if value is None else str(value)
    except Exception:
        return None


def number(rng):
    kind = rng.randrange(10)
    if kind < 4:
        return str(rng.randrange(100))
    if kind < 6:
        return str(rng.randrange(10 ** rng.randrange(1, 40)))
    if kind < 7:
        return f"{rng.randrange(10**6):,}"
    if kind < 8:
        return rng.choice(["0", "00", "1.", ".5", "0.0", "007", "1..2", "00.5", "0.1", "1e5", "()", "..."])
    if kind < 9:
        return f"{rng.randrange(10 ** rng.randrange(1, 25))}.{rng.randrange(10 ** rng.randrange(1, 20))}"
    return "0." + "0" * rng.randrange(12) + str(rng.randrange(1, 1000))


def arithmetic(rng, depth):
    kind = rng.randrange(8)
    if depth == 0 or kind == 0:
        return number(rng)
    if kind == 1:
        return "(" + arithmetic(rng, depth - 1) + ")"
    if kind == 2:
        return rng.choice("+-") + arithmetic(rng, depth - 1)
    space = " " * rng.randrange(2)
    operator = rng.choice(["+", "-", "*", "/", "//", "*", "/"])
    return arithmetic(rng, depth - 1) + space + operator + space + arithmetic(rng, depth - 1)


def extremes(rng):
    huge = "9" * rng.randrange(300, 330)
    tiny = "0." + "0" * rng.randrange(295, 330) + str(rng.randrange(1, 10**6))
    big = str(rng.randrange(10 ** rng.randrange(30, 330)))
    other = str(rng.randrange(1, 10 ** rng.randrange(1, 400)))
    operands = [huge, huge + ".0", tiny, big, other, number(rng)]
    rng.shuffle(operands)
    return operands[0] + rng.choice(["/", "//", "*", "-", "+"]) + rng.choice(["", "-"]) + operands[1]


def soup(rng):
    return "".join(rng.choice("0123456789*+-/.() ,") for _ in range(rng.randrange(1, 12)))


def literal(rng):
    text = "".join(rng.choice("abrsABRS01 _.()") for _ in range(rng.randrange(8)))
    quote = rng.choice(["'", '"', "'", '"', "'''", '"""'])
    other = '"' if quote[0] == "'" else "'"
    return quote + text + rng.choice(["", "", other]) + quote


def counting(rng):
    def text_value():
        value = " ".join(literal(rng) for _ in range(rng.choice([1, 1, 1, 2])))
        for _ in range(rng.choice([0, 0, 0, 1, 2])):
            value += "." + rng.choice(["lower", "upper", "strip", "lstrip", "rstrip"]) + "()"
        return value

    def count():
        argument = rng.choice(["'a'", "'r'", "\"s\"", "''", "'ab'", "' '", literal(rng), "3", "", "('b')"])
        return text_value() + rng.choice(["", "", " "]) + ".count(" + argument + ")"

    result = count()
    for _ in range(rng.choice([0, 0, 1, 2, 3])):
        other = rng.choice([count(), "3", "0", "True", "False", "2.5", text_value(), "()"])
        result = rng.choice(["", "not ", "not not "]) + result + rng.choice([" and ", " or "]) + other
    return rng.choice(["", "", "("]) + result + rng.choice(["", "", ")"])


def is_ours(expression, result):
    """False where Python alone goes on: an operand that short-circuiting hides may be invalid there."""
    if " and " not in expression and " or " not in expression:
        return True
    operands = re.split(r" and | or ", expression.strip("()"))
    return all(reference(o.replace("not ", "") if ".count(" in o else "'a'.count('a') and " + o) is not None
               or "()" == o for o in operands)


def main():
    rng = random.Random(20260703)
    makers = [(lambda r: arithmetic(r, 2), 250), (lambda r: arithmetic(r, 4), 250), (extremes, 120),
              (soup, 400), (counting, 300)]
    seen = set()
    with open(sys.argv[1], "w", encoding="ascii") as out:
        for maker, n in makers:
            written = 0
            while written < n:
                expression = maker(rng)
                result = reference(expression)
                rare = result is None and rng.random() < 0.5
                if expression in seen or rare or not is_ours(expression, result):
                    continue
                seen.add(expression)
                written += 1
                out.write(json.dumps(expression) + "\t" + json.dumps(result) + "\n")


main()
