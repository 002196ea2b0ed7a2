"""Ways to damage a file or a text, the same for the same random numbers; part of mutated_packages.py and mutated_texts.py."""

from __future__ import annotations

import random
import re
from collections.abc import Callable, Sequence

HUGE = (
    b"9" * 5000,
    b"-" + b"1" * 60,
    b"1e999",
    b"1e308",
    b"NaN",
    b"Infinity",
    b"18446744073709551616",
    b"2147483648",
    b"-1",
    b"0",
)
NAMES = (
    b'"../../../../etc/passwd"',
    b'"/dev/zero"',
    b'"' + b"n" * 5000 + b'"',
    b'"\\ud800"',
    b'"\\u001b[2J\\u001b]0;t\\u0007"',
    b'"\\u202etxt"',
    b'""',
    b"null",
    b"[]",
    b"{}",
    b"true",
)
NUMBER = re.compile(rb"-?\d+(\.\d+)?(e-?\d+)?")
TEXT = re.compile(rb'"(?:[^"\\]|\\.){0,200}"')
KEY = re.compile(rb'"(?:[^"\\]|\\.){1,60}"\s*:')


def cut(content: bytes, rng: random.Random) -> bytes:
    """Cut a file off."""
    return content[: rng.randrange(len(content) + 1)]


def flip(content: bytes, rng: random.Random) -> bytes:
    """Flip one to eight bits, half of the time near the beginning, where sizes and names are."""
    changed = bytearray(content)
    for _ in range(rng.randint(1, 8) if changed else 0):
        end = len(changed) if rng.random() < 0.5 else min(len(changed), 4096)
        changed[rng.randrange(end)] ^= 1 << rng.randrange(8)
    return bytes(changed)


def insert(content: bytes, rng: random.Random) -> bytes:
    """Insert bytes that are noise, zeros, a huge number or a deep nesting."""
    place = rng.randrange(len(content) + 1)
    made = (
        rng.randbytes(rng.randint(1, 64)),
        b"\0" * rng.randint(1, 4096),
        rng.choice(HUGE),
        b"[" * rng.choice((70, 1000, 100_000)),
        b'{"a":' * rng.choice((70, 1000, 100_000)),
    )
    return content[:place] + rng.choice(made) + content[place:]


def drop(content: bytes, rng: random.Random) -> bytes:
    """Leave a piece out."""
    begin = rng.randrange(len(content) + 1)
    return content[:begin] + content[begin + rng.randint(1, 200) :]


def repeat(content: bytes, rng: random.Random) -> bytes:
    """Repeat a piece somewhere else."""
    begin, place = rng.randrange(len(content) + 1), rng.randrange(len(content) + 1)
    return content[:place] + content[begin : begin + rng.randint(1, 2000)] + content[place:]


def replaced(
    pattern: re.Pattern[bytes], values: Sequence[bytes], behind: bytes = b""
) -> Callable[[bytes, random.Random], bytes]:
    """Return a way that puts one of some values in place of one match of a pattern."""

    def replace(content: bytes, rng: random.Random) -> bytes:
        # Files of weights have millions of matches: one is looked for from a random place on.
        found = pattern.search(content, rng.randrange(len(content) + 1)) or pattern.search(content)
        if not found:
            return content + rng.choice(values)
        return content[: found.start()] + rng.choice(values) + behind + content[found.end() :]

    return replace


def empty(_content: bytes, _rng: random.Random) -> bytes:
    """Leave nothing."""
    return b""


def noise(content: bytes, rng: random.Random) -> bytes:
    """Put noise of the same length, of at most 100 kB, in the file's place."""
    return rng.randbytes(min(len(content), 100_000))


WAYS: dict[str, Callable[[bytes, random.Random], bytes]] = {
    "cut": cut,
    "flip": flip,
    "insert": insert,
    "drop": drop,
    "repeat": repeat,
    "number": replaced(NUMBER, HUGE),
    "value": replaced(TEXT, NAMES),
    "name": replaced(KEY, NAMES[2:7], b":"),
    "empty": empty,
    "noise": noise,
}
"""Each way to damage the content of a file."""

SNIPPETS = (
    "\\boxed{", "\\frac{", "}{", "$$", "\\[", "\\]", "```", "**", "<think>", "</think>", "The answer is ", "Q: ", "A: ", "####",
    "(A)", "(", "[", "{", "1. ", "- ", "½", "√", "。", "\u202e", "\x1b[2J", "\x00", "\ud800", "\r\n", "\u2028", "\t" * 50, " " * 3000,
    "(" * 3000, "1. " * 1000, "a." * 1000, "9" * 5000, "1,000," * 500, "e9" * 300, "1/" * 500, "-" * 2000, "$" * 999, "#" * 500,
    "the answer is " * 200, "twenty " * 400, "🥚" * 200, "e\u0301" * 200, "\\begin{align}" * 100, "<<1+1=" * 200,
)  # fmt: skip
"""What is put into texts: marks that readers of answers look for, and much of what they may repeat."""


def mutated_text(text: str, rng: random.Random) -> str:
    """Return a text with one to five pieces put in, left out, repeated or turned round."""
    for _ in range(rng.randint(1, 5)):
        place, end = sorted(rng.randrange(len(text) + 1) for _ in range(2))
        ways = (
            text[:place] + rng.choice(SNIPPETS) + text[place:],
            text[:place] + text[end:],
            text[:place] + text[place:end] * rng.randint(2, 5) + text[end:],
            text[:place] + text[place:end][::-1] + text[end:],
            text[:place] + "".join(chr(rng.randrange(0x11000)) for _ in range(10)) + text[place:],
        )
        text = rng.choice(ways)[:60_000]
    return text
