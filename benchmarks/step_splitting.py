r"""How long splitting a text into steps takes per character, and how that grows with the text's length.

    python benchmarks/step_splitting.py --characters 100000

Each text is one piece repeated up to the length; the last rows repeat ordinary rationales. The growth is the time per
character at the full length over the time per character at a tenth of it: 1 is linear.
"""

from __future__ import annotations

import argparse
import time

from kpodx.text.steps import step_bounds

HOSTILE = (
    *("1. ", "Step 1. ", ". ", "\n", "a. ", "J. ", "Mr. ", "No. ", "p. ", "I. ", "e.g.", "…", '."', "x.Then", "。"),
    *("(", "(a. B", "(i) ", "$$", "$$ x\n\n", "\\[", "\\[ x ", "\\[\n\n", "\\begin{align}", "\\begin{cases}\n\n"),
    *("```\n", "```py\n", "````\n```\n", "`", "`a ", "~~~\n", "\\\\", "1.\n", "* ", "\n- 1. "),
)
ORDINARY = {
    "plain": "Ann has 3 pens. She buys 4 more for $2.50 each (at Mr. Lee's shop). So she has 3 + 4 = 7 pens.\n",
    "markdown": "**Step 1:** Add the pens.\n\n- Ann has 3 pens.\n- She buys 4.\n\n1. **Total**: 3 + 4 = 7.\n",
    "LaTeX": "We add them:\n\\[\n3 + 4 = 7. \\quad \\text{So it is } 7.\n\\]\nwhere \\(3\\) is what she has. Thus $7$.\n",
    "code": "Run this:\n\n```python\npens = 3 + 4\nprint(pens)\n```\n\nIt prints 7. Therefore she has 7.\n",
}


def seconds_per_character(piece: str, characters: int, repeats: int) -> float:
    """Seconds per character of one splitting, the fastest of `repeats`."""
    text = (piece * (characters // len(piece) + 1))[:characters]
    fastest = float("inf")
    for _ in range(repeats):
        step_bounds.cache_clear()
        started = time.process_time()
        step_bounds(text)
        fastest = min(fastest, time.process_time() - started)
    return fastest / characters


def main() -> None:
    """Print the table."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("--characters", type=int, default=100_000, help="length of each text (100000)")
    parser.add_argument("--repeats", type=int, default=3, help="of which the fastest counts (3)")
    given = parser.parse_args()

    print("| text | µs per character | growth |\n|---|---|---|")
    for name, piece in [*((repr(piece), piece) for piece in HOSTILE), *ORDINARY.items()]:
        short, whole = (
            seconds_per_character(piece, length, given.repeats) for length in (given.characters // 10, given.characters)
        )
        print(f"| `{name}` | {whole * 1e6:.3f} | {whole / short:.2f} |")


if __name__ == "__main__":
    main()
