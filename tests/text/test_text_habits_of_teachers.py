"""Golden tables of teachers' habits: what is cut from a completion, what stays, and which answer is read from it."""

from __future__ import annotations

import time

import pytest

from kpodx.schema import AnswerKind
from kpodx.text.answers import read_answer
from kpodx.text.completeness import why_torn
from kpodx.text.completions import clean_completion
from kpodx.text.reasoning import take_apart

SUM = "48 + 24 = 72."
NUMBER = AnswerKind.NUMBER


def rationale(text: str) -> str:
    """Return what remains of a completion, after checking that it is whole and that a second reading removes nothing."""
    reasoning = take_apart(clean_completion(text)).reasoning
    assert why_torn(reasoning) is None
    assert take_apart(clean_completion(reasoning)).reasoning == reasoning
    return reasoning


def number(text: str) -> str | None:
    """Return the number that is read from a completion."""
    return read_answer(text, NUMBER).answer


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (
            "**Answer:** She has 5 apples left after giving 3 away. First she had 8 apples, and 8 - 3 = 5.",
            "She has 5 apples left after giving 3 away. First she had 8 apples, and 8 - 3 = 5.",
        ),
        (
            "We compute.\n\n**Answer:** She has 5 apples left. This follows because 8 - 3 = 5.",
            "We compute.\n\nShe has 5 apples left. This follows because 8 - 3 = 5.",
        ),
        (
            "Let us see.\n\nAnswer: Tom walks 3 miles. In 4 days that is 3 * 4 = 12.",
            "Let us see.\n\nTom walks 3 miles. In 4 days that is 3 * 4 = 12.",
        ),
        (
            "**Answer:**\nShe starts with 8 apples.\nShe gives 3 away.\n8 - 3 = 5",
            "She starts with 8 apples.\nShe gives 3 away.\n8 - 3 = 5",
        ),
        (
            "Wir rechnen.\n\nAntwort: Anna hat noch 5 Äpfel. Denn 8 - 3 = 5.",
            "Wir rechnen.\n\nAnna hat noch 5 Äpfel. Denn 8 - 3 = 5.",
        ),
        (
            "Respuesta: Ana tiene 8 manzanas. Da 3, así que 8 - 3 = 5.",
            "Ana tiene 8 manzanas. Da 3, así que 8 - 3 = 5.",
        ),
        ("答案：她还有5个苹果。这是因为8-3=5。", "她还有5个苹果。这是因为8-3=5。"),
        (
            "Gegeben sind 8 Äpfel.\n\n**Lösung:**\nSie gibt 3 weg.\n8 - 3 = 5",
            "Gegeben sind 8 Äpfel.\n\nSie gibt 3 weg.\n8 - 3 = 5",
        ),
        ("I think.\n\nAnswer: Yes, hens lay eggs. They do so daily.", "I think.\n\nHens lay eggs. They do so daily."),
        ("Final Answer: She has 5 apples left. First she had 8.", "She has 5 apples left. First she had 8."),
        # An answer alone, or a sentence that nothing follows, is the announcement itself.
        ("8 - 3 = 5.\n\nAnswer: Tom has 5 apples left.", "8 - 3 = 5."),
        ("Answer: 5 apples. First she had 8, and 8 - 3 = 5.", "First she had 8, and 8 - 3 = 5."),
        ("Answer: the wooded area. Trees grow there.", "Trees grow there."),
        ("Answer: Charles Dickens. Oliver Twist is his book.", "Oliver Twist is his book."),
        ("**Final Answer:** 72\n\nCheck: 72 - 24 = 48.", "Check: 72 - 24 = 48."),
    ],
)
def test_a_label_does_not_swallow_a_sentence_of_reasoning(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        (r"So \\(48 + 24 = 72\\). The answer is \\(72\\).", r"So \(48 + 24 = 72\)."),
        (r"We have \\(48 + 24 = 72\\), so the answer is \\(72\\).", r"We have \(48 + 24 = 72\)."),
        (r"\\[48+24=72\\] Therefore, the answer is \\[\\boxed{72}\\].", r"\[48+24=72\]"),
        ("3 + 4 = 7.\n\\\\[\n\\\\boxed{7}\n\\\\]", "3 + 4 = 7."),
        (r"The answer is \\(7\\) because \\(3 + 4 = 7\\).", r"\(3 + 4 = 7\)."),
        (r"The answer is \(7\) because \(3 + 4 = 7\).", r"\(3 + 4 = 7\)."),
        (
            r"Half is \(\frac{1}{2}\), so \\(2 \cdot 3 = 6\\). The answer is \\(6\\).",
            r"Half is \(\frac{1}{2}\), so \(2 \cdot 3 = 6\).",
        ),
        # A line's end in a formula is two backslashes.
        (
            "$$\n\\begin{aligned} x &= 3 \\\\[2pt] &= 4 \\\\ y &= 5 \\end{aligned}\n$$\n\nThe answer is 4.",
            "$$\n\\begin{aligned} x &= 3 \\\\[2pt] &= 4 \\\\ y &= 5 \\end{aligned}\n$$",
        ),
    ],
)
def test_doubled_backslashes_leave_no_half_formula(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 70. Hmm, let me recheck: 48 + 24 = 72. Actually it is 72.",
        "The answer is 70. On second thought, 48 + 24 = 72.",
        "The answer is 70.\n\nCorrection: 72",
        "The answer is 70. Oops, I made an error. 48 + 24 = 72.",
        "The answer is 70. Let me redo this. 48 + 24 = 72.",
        "The answer is 70. Let me recalculate.",
        "The answer is 70. I see that I made a small mistake: it should be 72.",
        "The answer is 70. Sorry, that's not right.",
        "The answer is 70. Scratch that, it's 72.",
        "The answer is 70. I apologize for the confusion. 48 + 24 = 72.",
        "The answer is 70. I misread the question.",
        "The answer is 70.\nHold on. 48 + 24 = 72.",
        "The answer is 70... no, 72.",
        "The answer is 70. No, it's 72.",
        "The answer is 70. Wait - two clips are missing.",
        "The answer is 70. But I need to add the last 2: 72.",
        "The answer is 70. Rechecking: 48 + 24 = 72.",
        "The answer is 70 (correction: 72).",
        "$\\boxed{70}$. Oops, I forgot the last clip.",
        "Die Antwort ist 70. Moment, 48 + 24 = 72.",
        "Die Antwort ist 70. Ich habe mich verrechnet.",
        "La respuesta es 70. Me equivoqué: son 72.",
        "答案是70。等等，应该是72。",
    ],
)
def test_an_answer_that_is_taken_back_is_none(text: str) -> None:
    assert number(text) is None
    assert number(f"{text} The answer is 72.") == "72"


@pytest.mark.parametrize(
    "text",
    [
        "The answer is 72.\n\nLet me double-check: 72 - 24 = 48. Yes, correct.",
        "The answer is 72. Let me recheck: 48 + 24 = 72.",
        "The answer is 72. Let's recompute it: 24 + 24 = 48, which confirms the sum.",
        "The answer is 72. Actually, this is the number of clips of both months.",
        "The answer is 72. It is important not to make an error here.",
        "The answer is 72. A common mistake is to stop at 48.",
        "The answer is 72. Let me verify that the answer is correct: 72 - 24 = 48, which matches.",
        "The answer is 72. Many would wait for May. Others hold on to April.",
        "The answer is 72. It should be noted that 48 is for April.",
        "The answer is 72 after correction of the April sales.",
        "Let me redo this. Oops, I made an error. The answer is 72.",
    ],
)
def test_a_check_takes_nothing_back(text: str) -> None:
    assert number(text) == "72"


def test_a_choice_that_is_taken_back_is_none() -> None:
    choices = ("sea", "zoo")
    assert read_answer("The answer is (A). Hmm, actually, it is (B).", AnswerKind.CHOICE, choices).answer is None
    assert read_answer("The answer is (B). Hmm, (A) is wrong.", AnswerKind.CHOICE, choices).answer == "B"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("Answer: after 5 years, he'll have $1,276.28", "1276.28"),
        ("Answer: In 3 weeks she saves $45.", "45"),
        ("The answer is that after 5 years he has $1,276.28.", "1276.28"),
        ("Answer: After 3 days, 12 apples remain.", "12"),
        ("Answer: At 3 pm, there are 45 people.", "45"),
        ("Answer: by day 7 she has read 210 pages", "210"),
        ("Answer: Over the course of 4 weeks, she earns $80.", "80"),
        ("Answer: Of the 20 students, 12 passed.", "12"),
        ("Answer: Selling 9 eggs at $2 each, she makes $18.", "18"),
        ("Answer: When he is 12, she will be 24.", "24"),
        ("Answer: 3 weeks later she has $45.", "45"),
        ("Answer: All 4 friends together pay $60.", "60"),
        ("Answer: all 12 apples, 3 of them red", "12"),
        ("Answer: With 4 friends, each gets 6 cookies.", "6"),
        ("Answer: Each of the 4 friends gets 6 cookies.", "6"),
        ("Answer: if she sells 3 a day, she earns $45 a week", "45"),
        ("Antwort: Nach 5 Jahren hat er 1.276,28 €.", "1276.28"),
        ("Respuesta: En 3 semanas ahorra 45 dólares.", "45"),
        ("Answer: in 5 days", "5"),
        ("Answer: 5 apples in 3 days", "5"),
        ("Answer: She will finish in 5 days.", "5"),
        ("Answer: in 5 days, which is 120 hours", "5"),
        ("Answer: in 5 to 6 days", None),
        ("Answer: after 5 years and 3 months", None),
        ("Answer: In total, 12", "12"),
        ("Answer: In total 12 apples in 3 days", "12"),
    ],
)
def test_a_phrase_before_the_answer_is_not_the_answer(text: str, answer: str | None) -> None:
    assert number(text) == answer


def test_the_asked_unit_decides_for_a_number_in_an_opening_phrase() -> None:
    text = "Answer: In 3 weeks she saves $45."
    assert read_answer(text, NUMBER, question="How many weeks does she need?").answer == "3"
    assert read_answer(text, NUMBER, question="How many dollars does she save?").answer == "45"


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("She pays $45 instead of $50.", "45"),
        ("So there are 12 rather than 15.", "12"),
        ("So the number of eggs is 12 and not 15.", "12"),
        ("It is not 50 but 45.", "45"),
        ("So 45, not 50, is what she pays.", "45"),
        ("The price is down from 50 to 45.", "45"),
        ("The price rises from $40 to $45.", "45"),
        ("She has 45, up from 30.", "45"),
        ("So it's 12, no longer 15.", "12"),
        ("So she has 12 left from the original 15.", "12"),
        ("The total is 72, which is 24 more than 48.", "72"),
        ("It costs 45 compared to 50 before.", "45"),
        ("Instead of the 50, she pays 45.", "45"),
        ("She has 45 out of 50.", "45"),
        ("So she pays 45 dollars, which is less than 50.", "45"),
        ("She paid 45 dollars, 5 less than the original 50.", "45"),
        ("So Tom has 12 apples as opposed to 15.", "12"),
        ("Wendy earns 36 - 6 = 30 more badges than Amber in 1 year.", "30"),
        ("The sale lasts from 3 to 5.", None),
    ],
)
def test_a_contrasted_number_is_not_the_answer(text: str, answer: str | None) -> None:
    assert number(f"She looks at the price of the eggs. {text}") == answer


@pytest.mark.parametrize(
    ("text", "answer"),
    [
        ("48 + 24 = 72. The answer is the sum of both. It has 2 digits.", None),
        ("The answer is the number of apples. She has 3 bags of 4.", None),
        ("There are 120 minutes in all. The answer is in minutes. It was asked for 2 times.", "2"),
        ("The answer is in minutes. There are 2 hours, so 2 * 60 = 120.", "120"),
        ("Answer: see below.\n3 + 4 = 7", "7"),
        ("Answer: Let us see. 48 + 24 = 72.", "72"),
        ("The answer is:\n\n42", "42"),
        ("The answer is\n42", "42"),
        ("The answer is the number of apples:\n12", "12"),
        ("The answer is:\n$$\n42\n$$", "42"),
        ("Final Answer\n\n42", "42"),
        ("The answer is **42**. There are 7 more.", "42"),
    ],
)
def test_a_later_sentence_is_no_part_of_an_announcement(text: str, answer: str | None) -> None:
    assert number(text) == answer


def test_what_follows_a_remark_about_the_answer_is_not_announced() -> None:
    assert read_answer("The answer is in minutes. There are 2 hours, so 2 * 60 = 120.", NUMBER).source == "stated"


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("Yes because hens are birds, and birds lay eggs.", "Hens are birds, and birds lay eggs."),
        ("yes because it floats on water.", "It floats on water."),
        ("**No**, since fish have no legs.", "Fish have no legs."),
        ("No, since fish have no legs, they cannot walk.", "Since fish have no legs, they cannot walk."),
        ("Yes, hens are birds. Birds lay eggs.", "Hens are birds. Birds lay eggs."),
        ("Yes – hens lay eggs.", "Hens lay eggs."),
        ("True: 2 is less than 3.", "2 is less than 3."),
        ("No, because of the rain. The street is wet.", "The street is wet."),
        ("Ja, weil Hühner Vögel sind. Vögel legen Eier.", "Vögel legen Eier."),
        ("Sí, porque las gallinas son aves.", "Las gallinas son aves."),
        ("B: 3 × 12 = 36, and 36 − 4 = 32.", "3 × 12 = 36, and 36 − 4 = 32."),
        ("B because a zoo has cages.", "A zoo has cages."),
        ("(B), because a zoo has cages.", "A zoo has cages."),
        ("B) A zoo has cages.", "A zoo has cages."),
        ("72, because 48 + 24 = 72.", "48 + 24 = 72."),
        ("C. 3 × 12 = 36.", "3 × 12 = 36."),
        ("C. Smith has 36 eggs.", "C. Smith has 36 eggs."),
        ("Option B: a zoo has cages.", "A zoo has cages."),
        ("Yes, they do. Hens lay eggs.", "Hens lay eggs."),
        ("Yes it does because hens are birds.", "Hens are birds."),
        ("The answer is 72: 48 + 24 = 72.", "48 + 24 = 72."),
        ("No one can see cages there.", "No one can see cages there."),
        ("No apples are left: 3 - 3 = 0.", "No apples are left: 3 - 3 = 0."),
        ("A zoo has cages.", "A zoo has cages."),
        ("A: 3 + 4 = 7.\nB: 7 + 2 = 9.", "3 + 4 = 7.\nB: 7 + 2 = 9."),
        ("(A) The sea has no cages.\n(B) A zoo has cages.", "(A) The sea has no cages.\n(B) A zoo has cages."),
        ("B is a city in the north.", "B is a city in the north."),
    ],
)
def test_a_bare_answer_at_the_head_goes(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("1. Add: 3 + 4 = 7.\n2. Answer: 7\n3. Check: 7 - 4 = 3.", "1. Add: 3 + 4 = 7.\n3. Check: 7 - 4 = 3."),
        ("1. 3 + 4 = 7\n2. So, the answer is (B).\n3. A zoo has cages.", "1. 3 + 4 = 7\n3. A zoo has cages."),
        ("- 3 + 4 = 7\n- **Answer:** 7\n- 7 + 0 = 7", "- 3 + 4 = 7\n- 7 + 0 = 7"),
        ("- 3 + 4 = 7\n- The answer is 7.", "- 3 + 4 = 7"),
        ("1. 3 + 4 = 7\n   - The answer is 7.\n2. 7 - 4 = 3", "1. 3 + 4 = 7\n2. 7 - 4 = 3"),
        (
            "**Step 1:** 3 + 4 = 7.\n**Step 2:** The answer is 7.\n**Step 3:** 7 - 4 = 3.",
            "**Step 1:** 3 + 4 = 7.\n**Step 3:** 7 - 4 = 3.",
        ),
        ("a) 3 + 4 = 7\nb) The answer is 7.\nc) 7 - 4 = 3", "a) 3 + 4 = 7\nc) 7 - 4 = 3"),
        ("(1) 3 + 4 = 7.\n(2) The answer is 7.\n(3) 7 - 4 = 3.", "(1) 3 + 4 = 7.\n(3) 7 - 4 = 3."),
        ("1. 3 + 4 = 7.\n2. 7 + 2 = 9, so the answer is 9.", "1. 3 + 4 = 7.\n2. 7 + 2 = 9."),
    ],
)
def test_no_empty_list_item_is_left(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("48 + 24 = 72, which is the answer.", SUM),
        ("48 + 24 = 72 which is the answer.", SUM),
        ("48 + 24 = 72, and that is the answer.", SUM),
        ("48 + 24 = 72 is the answer.", SUM),
        ("48 + 24 = 72. This is the answer.", SUM),
        ("48 + 24 = 72, the final answer.", SUM),
        ("$48 + 24 = 72$ is the answer.", "$48 + 24 = 72$."),
        ("48 + 24 = 72, which is our answer to the question.", SUM),
        ("Let x be it: x = 72, which is the answer.", "Let x be it: x = 72."),
        ("She has 72, which is the answer.", "She has 72."),
        ("So 48 + 24 = 72 is the final answer.", "So 48 + 24 = 72."),
        ("We get 48 + 24 = 72 clips, which is our final answer.", "We get 48 + 24 = 72 clips."),
        ("In total she sold 48 + 24 = 72 clips, that's the answer.", "In total she sold 48 + 24 = 72 clips."),
        ("She adds. 72 clips is the answer.", "She adds."),
    ],
)
def test_a_sum_that_is_called_the_answer_stays(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning
    assert number(text) == "72"


@pytest.mark.parametrize(
    "announcement",
    [
        "Final answer → 72", "Answer ⇒ 72", "Answer = 72", "Ans. 72", "Ans.: 72", "Ans.72", "Final answer -> 72",
        "Answer => 72", "**Answer** → **72**", "Answer ➜ 72", "Final answer ≈ 72", "Answer $\\rightarrow$ 72", "Answer ▶ 72",
        "Antwort → 72", "Respuesta → 72", "答案→72",
    ],
)  # fmt: skip
def test_signs_announce_like_a_colon(announcement: str) -> None:
    for gap in (" ", "\n", "\n\n"):
        text = f"{SUM}{gap}{announcement}"
        assert rationale(text) == SUM
        reading = read_answer(text, NUMBER)
        assert (reading.answer, reading.source) == ("72", "announced")


@pytest.mark.parametrize(
    "opening",
    [
        "As a result of the above", "As a result", "As a consequence of this", "As such", "As we can see", "As shown above",
        "As per the above", "As a final result", "In light of this", "Given all of this", "Because of the above",
        "Thanks to this sum", "Due to this", "Owing to these steps", "Putting it all together", "All in all",
        "Per the above steps", "Taken together", "On the basis of this result", "As a sum of both months",
        "Simply put", "As the result of our sum shows", "All things considered", "As a result of adding both months",
    ],
)  # fmt: skip
def test_no_torn_head_of_an_announcement_is_left(opening: str) -> None:
    assert rationale(f"{SUM} {opening}, the answer is 72.") == SUM


@pytest.mark.parametrize(
    ("text", "reasoning"),
    [
        ("As she sold 72 clips, the answer is 72.", "She sold 72 clips."),
        ("As a dog has 4 legs, the answer is 4.", "A dog has 4 legs."),
        ("Since 48 + 24 = 72, the answer is 72.", SUM),
    ],
)
def test_a_reason_before_an_announcement_stays(text: str, reasoning: str) -> None:
    assert rationale(text) == reasoning


@pytest.mark.parametrize(
    "announcement",
    [
        "Somit ist die Antwort 72.", "72 ist die Antwort.", "Damit beträgt das Ergebnis 72 Euro.", "Also ist 72 die Antwort.",
        "Daher lautet die Antwort 72.", "Folglich ist das Ergebnis 72.", "Also lautet die richtige Antwort also 72.",
        "Die Antwort ist daher 72.", "Damit ist die Lösung 72 Euro.", "72 Euro ist die richtige Lösung.",
        "72 es la respuesta.",
    ],
)  # fmt: skip
def test_german_word_order_announces(announcement: str) -> None:
    text = f"Am 3. Mai hat Tom z. B. 48 Euro, d. h. 48 + 24 = 72 Euro. {announcement}"
    assert rationale(text) == "Am 3. Mai hat Tom z. B. 48 Euro, d. h. 48 + 24 = 72 Euro."
    reading = read_answer(text, NUMBER)
    assert (reading.answer, reading.source) == ("72", "announced")


@pytest.mark.parametrize(
    "text", ["Das Ergebnis von 5 + 3 ist 8.", "Die Lösung wird gerührt.", "Das Ergebnis wird mit 2 verdoppelt."]
)
def test_german_reasoning_about_a_result_stays(text: str) -> None:
    assert take_apart(text) == (text, "", 0)


CLOSERS = (
    "Let me know if you have any questions!", "I hope this helps!", "Hope that helps", "Feel free to ask if anything is unclear.",
    "Is there anything else I can help you with?", "Would you like me to explain any step?", "Happy to help!",
    "If you have any further questions, feel free to ask! 😊", "I hope this explanation helps you understand the problem.",
    "Please don't hesitate to reach out.", "I trust this step-by-step solution helps.", "Keep up the good work!",
    "Do let me know if you need anything else.",
    "Ich hoffe, dass dir das weiterhilft.", "Espero haberte ayudado.",
    "Ich hoffe, das hilft!", "Lass mich wissen, wenn du Fragen hast.",
    "Wenn du noch Fragen hast, frag gerne.", "¡Espero que esto ayude!", "Avísame si tienes preguntas.",
    "Si tienes alguna otra pregunta, no dudes en preguntar.", "希望这对你有帮助！", "如果你有其他问题，请随时告诉我。",
)  # fmt: skip


@pytest.mark.parametrize("closer", CLOSERS)
def test_closing_words_for_a_chat_go(closer: str) -> None:
    for text in (f"{SUM} The answer is 72. {closer}", f"{SUM}\n\n**Answer:** 72\n\n---\n\n{closer}", f"{SUM} {closer}"):
        assert rationale(text) == SUM
        assert number(text) == "72"
    assert rationale(f"{SUM} {closer} I hope this helps! Good luck!") == SUM


@pytest.mark.parametrize(
    "text",
    [
        "Tom hopes this helps. So he has 7.",
        "If you have 5 apples and eat 2, then 3 are left.",
        "The teacher lets us know that 3 are left.",
        "Is there anything left? No, 3 - 3 = 0.",
        "She feels free to ask for 3 more.",
        "Good luck has nothing to do with it: 3 + 4 = 7.",
    ],
)
def test_reasoning_that_sounds_like_a_closing_stays(text: str) -> None:
    assert rationale(text) == text


@pytest.mark.parametrize(
    "unit",
    [
        "The answer is 5. Oops. ", "Let me redo this. ", "Hope that helps! ", "instead of 5 ", "Answer: She has 5. ", "\\\\(", "\\\\[ ",
        "Yes, because ", "after 5 years, ", "1. Answer: 5\n", "am 3. ", "u. a. ", "72, which is the answer. ", "not 5, ", "from 5 to ",
    ],
)  # fmt: skip
def test_time_is_linear_in_the_length(unit: str) -> None:
    """Ten times the text takes at most thirty times as long."""
    seconds = []
    for length in (4_000, 40_000):
        text = unit * (length // len(unit))
        begun = time.process_time()
        read_answer(text, NUMBER)
        take_apart(clean_completion(text))
        seconds.append(time.process_time() - begun)
    assert seconds[1] < 30 * max(seconds[0], 0.005)
