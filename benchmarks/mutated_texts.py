"""Send thousands of damaged questions and completions through every reader of text: none may raise, crash or take over 30 seconds.

    python benchmarks/mutated_texts.py --count 10000 --output texts.json

The texts come from the generator and from worked solutions in the styles of several teachers. Each text is cleaned, read for its answer
as every kind, split into steps, classified token by token, and tokenized. The exit code is 1 if any reading raised or took too long.
"""

from __future__ import annotations

import argparse
import json
import random
import sys
import time
import traceback
from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

from mutated_packages import SECONDS, seconds
from mutations import mutated_text

from kpodx.cli.export import generated_questions
from kpodx.config import shipped
from kpodx.modeling.loading import load_tokenizer
from kpodx.schema import AnswerKind
from kpodx.text.answers import answers_equal, canonical_answer, extract_answer
from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import take_apart
from kpodx.text.steps import step_bounds, step_texts
from kpodx.text.thoughts import separate_thoughts
from kpodx.text.token_types import token_type

CHOICES = ("12 eggs", "-3", "$\\frac{1}{2}$", "none of these", "31")
SOLUTIONS = (
    "Tom has 3 boxes of 12 eggs, so 3 * 12 = 36 eggs. He breaks 5. Therefore, the answer (arabic numerals) is 31.",
    "Answer: B\n\nExplanation: The sky is blue because of scattering. Option (A) is wrong.",
    "<think>\nFirst, 3 times 12.\n</think>\n\n**Step 1:** $3 \\times 12 = 36$.\n\n**Step 2:** $36 - 5 = \\boxed{31}$.",
    "\\[\n\\begin{align}\nx &= \\frac{4}{3} \\\\\ny &= \\sqrt{51}\n\\end{align}\n\\]\nSo the final answer is \\(\\frac43\\).",
    "She had 8 <<4*2=8>>8 apples.\nThen 8 - 3 = <<8-3=5>>5.\n#### 5",
    "1. Add 2 and 3.\n2. Multiply by 1,250.50.\n   a) gives 6252.5\n```python\nprint(5 * 1250.5)\n```\nANS: 6,252.5 dollars",
    "Let's think step by step. Thirty-four dollars and seventy-two cents. So it is $34.72.",
    "首先,3乘以12等于36。然后减去5。答案是31。",
    "Antwort: B. Zuerst 3 · 12 = 36, dann 36 − 5 = 31.",
    "The answer is (E). Dr. P. G. Smith said at 5 p.m. on Sept. 8th that 3 ft. 4 in. is 40 in.",
)


def main() -> int:
    """Damage, read, and report."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--count", type=int, default=10_000)
    parser.add_argument("--first", type=int, default=0, help="number of the first text")
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument(
        "--student",
        default=str(shipped("recipes") / "quickstart-student"),
        help="folder of the student whose tokenizer is used",
    )
    parser.add_argument("--output", type=Path, help="JSON file")
    arguments = parser.parse_args()
    readers = readers_of_text(load_tokenizer(arguments.student))
    texts = [*SOLUTIONS, *generated_questions(20)]
    numbers = range(arguments.first, arguments.first + arguments.count)
    found = campaign(readers, texts, numbers, arguments.seed)
    print(
        f"{found['texts']:,} damaged texts, {found['characters']:,} characters, {found['seconds']:,} s; "
        f"the slowest reading took {found['longest_seconds']} s ({found['longest_by']}, text {found['longest_number']})"
    )
    print("seconds: " + ", ".join(f"{name} {spent:.1f}" for name, spent in found["seconds_of"].items()))
    print(f"not ended well: {len(found['bad'])}")
    for item in found["bad"][:20]:
        print(json.dumps(item)[:1500])
    if arguments.output:
        arguments.output.write_text(json.dumps(found, indent=1))
    return int(bool(found["bad"]))


def readers_of_text(tokenizer: Any) -> dict[str, Callable[[str], object]]:
    """Return each reader by its name."""
    return {
        "clean_completion": clean_completion,
        "separate_thoughts": separate_thoughts,
        "take_apart": lambda text: why_torn(take_apart(text).reasoning),
        "extract_answer": read_every_kind,
        "canonical_answer": lambda text: [canonical_answer(text, kind, CHOICES) for kind in AnswerKind],
        "answers_equal": lambda text: [answers_equal(text, "31", kind) for kind in AnswerKind],
        "steps": lambda text: (step_texts(text), step_bounds(text)),
        "token_type": lambda text: [token_type(piece) for piece in text.split()],
        "tokenizer": lambda text: tokenize(tokenizer, text),
    }


def read_every_kind(text: str) -> list[str | None]:
    """Return the answer of a text, read as each kind."""
    return [extract_answer(text, kind, CHOICES) for kind in AnswerKind]


def tokenize(tokenizer: Any, text: str) -> int:
    """Return how many tokens a text has; a lone surrogate becomes "?", since tokenizers take valid UTF-8 only."""
    return len(tokenizer(text.encode("utf-8", "replace").decode()).input_ids)


def campaign(
    readers: dict[str, Callable[[str], object]], texts: list[str], numbers: range, seed: int
) -> dict[str, Any]:
    """Read all damaged texts; return the times, and which readings did not end well."""
    bad: list[dict[str, Any]] = []
    spent: Counter[str] = Counter()
    begun, characters, longest = time.monotonic(), 0, (0.0, "", 0)
    for number in numbers:
        rng = random.Random(f"{seed}-{number}")
        text = mutated_text(rng.choice(texts), rng)
        characters += len(text)
        for name, read in readers.items():
            asked = time.monotonic()
            try:
                with seconds(SECONDS):
                    read(text)
            except TimeoutError:
                bad.append({"number": number, "by": name, "outcome": "hang", "said": text[:200]})
            except BaseException:  # noqa: BLE001  (any exception counts as a fault)
                bad.append(
                    {"number": number, "by": name, "outcome": "traceback", "said": traceback.format_exc()[-1500:]}
                )
            took = time.monotonic() - asked
            spent[name] += took
            longest = max(longest, (took, name, number))
    return {
        "texts": len(numbers),
        "characters": characters,
        "seconds": round(time.monotonic() - begun, 1),
        "longest_seconds": round(longest[0], 3),
        "longest_by": longest[1],
        "longest_number": longest[2],
        "seconds_of": dict(spent),
        "bad": bad,
    }


if __name__ == "__main__":
    sys.exit(main())
