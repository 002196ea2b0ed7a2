"""Property: whatever a teacher puts its answer in, the rationale is whole, holds no announcement and every other sentence."""

from __future__ import annotations

from dataclasses import dataclass

from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import take_apart

SENTENCES = (
    "Olivia collected 12 pounds in the morning.",
    "She then found 8 more pounds, which makes 12 + 8 = 20.",
    "A zoo has cages (large ones).",
    "Each pack costs $4, so 3 packs cost 3 * $4 = $12.",
    "**Bold** words stay bold.",
    "The function `total()` returns 20.",
    "Using $x = 20$, we get $2x = 40$.",
    "It takes 5 hrs. 20 min. to drive there.",
    "Option A has 3 wheels.",
    "Does the bear eat fish?",
    "Mr. J. Smith pays 40% more.",
)
BLOCKS = (
    "The sum is:\n\\[ 12 + 8 = 20 \\]",
    "We solve it in code:\n```python\nanswer = 12 + 8\nprint(f'The answer is {answer}')\n```",
    "$$\n\\begin{aligned} x &= 12 + 8 \\\\ &= 20 \\end{aligned}\n$$",
    "- 12 pounds in the morning\n- 8 pounds in the evening",
    "| part | pounds |\n|---|---|\n| morning | 12 |\n| evening | 8 |",
    "### Step 2: Add the pounds\nThe pounds are 12 + 8 = 20.",
    "Therefore, the total is \\(12 + 8 = 20\\) pounds.",
)
ANNOUNCEMENTS = (
    "The answer is {}.",
    "So the answer is {}.",
    "Therefore, the final answer is **{}**.",
    "Therefore, among A through E, the answer is {}.",
    "Answer: {}",
    "**Answer:** {}",
    "**Final Answer: {}**",
    "### Final Answer\n\n{}",
    "## Answer\n**{}**",
    "#### {}",
    "ANS: {}",
    "Answer {}",
    "Correct answer - {}",
    "The final answer is $\\boxed{{{}}}$.",
    "\\boxed{{{}}}",
    "$$\\boxed{{{}}}$$",
    "\\[\n\\boxed{{{}}}\n\\]",
    "Thus, the answer is:\n\\[ \\boxed{{{}}} \\]",
    "The final answer is: $\\boxed{{{}}}$. I hope it is correct.",
    "**Step 5:** State the final answer.\n\nThe answer is {}.",
    "Therefore, the correct answer is:\n\n**{}**",
    "Hence, {} is the answer.",
    "(The answer is {}.)",
    "*Answer: {}*",
    "So, my answer would be {}.",
    "The answer to the question is {}.",
    "The correct answer is therefore {}.",
)
CHOICE_ONLY = (
    "Choice {}.",
    "Option {}",
    "Hence option {} is correct.",
    "So ({}) is the answer.",
    "({}) is the correct answer.",
    "Thus, the correct option is ({}).",
    "I would choose {}.",
    "Therefore, {}.",
    "So it must be {}.",
    "The correct letter is {}.",
    "The best choice is ({}).",
)


@dataclass(frozen=True)
class Written:
    """A completion, what of it is reasoning, and its value."""

    text: str
    reasoning: tuple[str, ...]
    value: str


@st.composite
def completions(draw: st.DrawFn) -> Written:
    """Return reasoning with its announcement before, behind, or on both sides of it."""
    value = draw(st.sampled_from(["20", "B", "1,200", "$12", "E"]))
    forms = ANNOUNCEMENTS + (CHOICE_ONLY if value.isalpha() else ())
    parts = draw(st.lists(st.sampled_from(SENTENCES + BLOCKS), min_size=1, max_size=6))
    text = ""
    for part in parts:
        is_block = part in BLOCKS or text.endswith(("```", "\\]", "$$", "|", "evening"))
        text += ("\n\n" if is_block else draw(st.sampled_from([" ", "\n", "\n\n"]))) + part if text else part
    where = draw(st.sampled_from(["behind", "behind", "before", "both"]))
    if where != "before":
        text += "\n\n" + draw(st.sampled_from(forms)).format(value)
    if where != "behind":
        text = draw(st.sampled_from(forms)).format(value) + "\n\n" + text
    return Written(text, tuple(parts), value)


def _plain(text: str) -> str:
    return " ".join(text.split())


@settings(deadline=None, max_examples=500)
@given(completions())
def test_a_rationale_is_whole_and_holds_all_reasoning_and_no_announcement(written: Written) -> None:
    parts = take_apart(clean_completion(written.text))
    assert why_torn(parts.reasoning) is None
    assert parts.num_announcements >= 1
    expected = " ".join(written.reasoning)
    assert _plain(parts.reasoning) == _plain(expected), "every sentence of reasoning, and nothing else"
    again = take_apart(parts.reasoning)
    assert again.num_announcements == 0
    assert again.reasoning == parts.reasoning
