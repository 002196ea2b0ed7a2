"""The embedded set: its sums are right except where they err on purpose, and splits cannot meet."""

from __future__ import annotations

import re
from collections import Counter
from fractions import Fraction

import pytest

from kpodx.dataset import embedded
from kpodx.dataset.embedded import generate_questions, split_of
from kpodx.dataset.story_words import format_number, with_unit
from kpodx.errors import DataError
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text.answers import answers_equal, extract_answer
from kpodx.text.steps import step_texts

SUM = re.compile(r"([\d,.]*\d) ([-+*/]) ([\d,.]*\d) = ([\d,.]*\d)\.")
ANSWER = re.compile(r" The answer is ([\d,.]*\d)\.\Z")


@pytest.fixture(scope="module")
def train() -> list[Question]:
    return generate_questions(Split.TRAIN, 2000, seed=0, wrong_rate=0.2)


def number(text: str) -> Fraction:
    return Fraction(text.replace(",", ""))


def sums(question: Question) -> list[tuple[Fraction, str, Fraction, Fraction]]:
    found = SUM.findall(question.gold_rationales[0])
    return [(number(a), operator, number(b), number(c)) for a, operator, b, c in found]


def result(left: Fraction, operator: str, right: Fraction) -> Fraction:
    return {"+": left + right, "-": left - right, "*": left * right, "/": left / right}[operator]


def said(question: Question) -> Fraction:
    found = ANSWER.search(question.gold_rationales[0])
    assert found, question
    return number(found[1])


def test_every_step_is_one_sum_and_its_operands_are_known(train: list[Question]) -> None:
    for question in train:
        chain = sums(question)
        assert len(chain) == question.num_steps
        for number, (left, _, right, _) in enumerate(chain[1:], 1):
            results = {result for *_, result in chain[:number]}
            assert {left, right} & results, question
        assert chain[-1][3] == said(question)
        assert len(step_texts(question.gold_rationales[0])) == len(chain) + 1


def test_right_rationales_are_exact_and_wrong_ones_err_in_one_step(train: list[Question]) -> None:
    for question in train:
        # A share or a percentage of an amount that is already wrong may have to be rounded to cents.
        errors = [abs(result(a, operator, b) - c) for a, operator, b, c in sums(question)]
        if said(question) == number(question.answer):
            assert max(errors) == 0, question
        else:
            assert sum(error > Fraction(1, 100) for error in errors) == 1, question
            assert max(errors) in (1, 2, 10), question


def test_the_share_of_wrong_rationales_is_the_one_asked_for(train: list[Question]) -> None:
    wrong = sum(said(q) != number(q.answer) for q in train) / len(train)
    # Three standard errors at 2,000 are 0.027.
    assert wrong == pytest.approx(0.2, abs=0.027)
    for rate, expected in ((0.0, 0), (1.0, 200)):
        questions = generate_questions(Split.TRAIN, 200, seed=3, wrong_rate=rate)
        assert sum(said(q) != number(q.answer) for q in questions) == expected


def test_answers_can_be_read(train: list[Question]) -> None:
    for question in train:
        assert question.answer_kind is AnswerKind.NUMBER
        assert "," not in question.answer
        assert number(question.answer) > 0
        read = extract_answer(question.gold_rationales[0], AnswerKind.NUMBER, ())
        right = said(question) == number(question.answer)
        assert answers_equal(read, question.answer, AnswerKind.NUMBER) is right


def test_no_question_of_one_split_is_in_another() -> None:
    sets = {
        split: {q.question for seed in (0, 1) for q in generate_questions(split, 700, seed=seed)} for split in Split
    }
    assert all(split_of(text) is split for split, texts in sets.items() for text in texts)
    assert not sets[Split.TRAIN] & sets[Split.TEST]
    assert not sets[Split.TRAIN] & sets[Split.VALIDATION]
    assert not sets[Split.VALIDATION] & sets[Split.TEST]


def test_texts_are_dealt_out_eighty_ten_ten() -> None:
    shares = Counter(split_of(f"question {i}") for i in range(10_000))
    assert [shares[s] / 10_000 for s in Split] == pytest.approx([0.8, 0.1, 0.1], abs=0.015)


def test_the_same_arguments_give_the_same_questions() -> None:
    def of(**changes: object) -> list[Question]:
        return generate_questions(**({"split": Split.TEST, "count": 50, "seed": 4} | changes))  # type: ignore[arg-type]

    assert of() == of() == of(count=80)[:50]
    assert of()[0].question != of(seed=5)[0].question
    assert [q.id for q in of(count=2)] == ["embedded-test-000000", "embedded-test-000001"]
    assert len({q.question for q in of(count=500)}) == 500


def test_steps_stay_in_the_range_asked_for(train: list[Question]) -> None:
    assert {q.num_steps for q in train} == {2, 3, 4, 5}
    assert {q.num_steps for q in generate_questions(Split.TRAIN, 50, seed=0, min_steps=3, max_steps=3)} == {3}


@pytest.mark.parametrize(
    ("feature", "pattern", "least"),
    [
        ("money", r"\$\d", 0.1),
        ("cents", r"\$\d+\.\d\d\b", 0.01),
        ("decimals", r"\d\.\d", 0.05),
        ("thousands", r"\d,\d{3}", 0.02),
        ("percent", r"\d+%", 0.005),
        ("kilograms", r"\d kg\b", 0.05),
        ("kilometers", r"\d km\b", 0.05),
        ("products", r"twice|three times|four times|doubles", 0.1),
        ("halves", r"half", 0.05),
        ("shares", r"equal", 0.02),
        ("sales", r"sells? (?:them|each)|sold (?:them|each)", 0.005),
        ("comparisons", r"(?:more|fewer|as many)(?: \w+)* (?:than|as) ", 0.05),
        ("totals", r"together|in all|altogether", 0.1),
        ("gifts", r"\bg[ia]ves? ", 0.1),
        ("losses", r"\bl(?:ost|oses?) ", 0.05),
        ("first person", r"\b(?:I|we|We) ", 0.1),
        ("past tense", r"\b(?:had|bought|found|were) ", 0.2),
        ("present tense", r"\b(?:has|buys|finds|are) ", 0.2),
        ("number words", r"\b(?:two|five|nine|eleven|twelve) ", 0.02),
        ("one question", r"^(?:If|How many) .*\?$", 0.005),
        ("asides", r"years old\.|day \d+ of|The bus takes|The box weighs", 0.1),
    ],
)
def test_every_kind_of_story_occurs(train: list[Question], feature: str, pattern: str, least: float) -> None:
    share = sum(bool(re.search(pattern, q.question)) for q in train) / len(train)
    assert least < share < 0.9, feature


def test_rationales_speak_in_order(train: list[Question]) -> None:
    for question in train[:300]:
        sentences = step_texts(question.gold_rationales[0])
        assert re.match(r"First|To start|To begin", sentences[0].strip()), question
        assert re.match(r"So|Finally|Then|In the end|Last", sentences[-2].strip()), question


@pytest.mark.parametrize("level", embedded.LEVELS)
def test_nothing_is_ungrammatical(level: str) -> None:
    wrong = re.compile(
        r"\{|\}|  |\bless \w+s\b|\bthan we\b(?! do)|\bthan I\b(?! do)|\bWe \w+ . We we\b|\bhave \w+ has\b|, The |\bshe have\b|\bhe have\b"
        r"|\b[Ii] has\b|\bwe has\b|\.\.|\bare \w+ is\b|breaked|buyed|losed|taked"
    )
    for question in generate_questions(Split.TRAIN, 3000, seed=7, min_steps=1, max_steps=6, level=level):
        for text in (question.question, *question.gold_rationales):
            # "How many does she have", "do they have": the auxiliary goes with the base form.
            plain = re.sub(r"(?:does|do|did|will) (?:\w+ ){1,4}?have", "-", text)
            assert not wrong.search(plain), (wrong.search(plain), text)


def test_names_and_things_are_an_open_list(train: list[Question]) -> None:
    from kpodx.dataset import story_words

    listed = {*story_words.GIRLS, *story_words.BOYS}
    openers = {word for q in train if (word := q.question.split()[0]) not in listed}
    assert len([word for word in openers if word.isalpha() and word.istitle()]) > 20


def test_keypoints_are_the_numbers_and_operators_of_the_sums(train: list[Question]) -> None:
    for question in train[:500]:
        [text], [spans] = question.gold_rationales, question.gold_keypoints
        marked = [text[start:stop] for start, stop in spans]
        assert spans == tuple(sorted(spans))
        assert all(re.fullmatch(r"[-+*/=]|[\d,]*\d(?:\.\d+)?", piece) for piece in marked), marked
        for found in re.finditer(r"([\d,.]*\d) [-+*/] ([\d,.]*\d) = ([\d,.]*\d)", text):
            inside = [text[a:b] for a, b in spans if found.start() <= a and b <= found.end()]
            assert " ".join(inside) == found[0]


def test_numbers_that_do_not_matter_are_restated_and_not_marked(train: list[Question]) -> None:
    unmarked = 0
    for question in train:
        [text], [spans] = question.gold_rationales, question.gold_keypoints
        for found in re.finditer(r"\d[\d,.]*", text):
            if not any(start <= found.start() < stop for start, stop in spans):
                unmarked += 1
                assert re.search(r"leaving aside|does not matter|changes nothing|\d% is kept|^\d+%", text), question
    assert unmarked > len(train) / 4


def test_more_questions_than_there_are_stories_are_refused_soon(monkeypatch: pytest.MonkeyPatch) -> None:
    tell = embedded.draw_story
    told: list[embedded.Story] = []

    def always_the_first(*arguments: object) -> object:
        story = told[0] if told else tell(*arguments)  # type: ignore[arg-type]
        if not told and story is not None and split_of(story.question) is Split.TRAIN:
            told.append(story)
        return story

    monkeypatch.setattr(embedded, "draw_story", always_the_first)
    monkeypatch.setattr(embedded, "MOST_TRIES", 500)
    with pytest.raises(DataError, match=r"fewer than 1,000,000 distinct train questions .* 1 were found") as caught:
        generate_questions(Split.TRAIN, 1_000_000, seed=0)
    assert "max_steps" in (caught.value.hint or "")


def test_numbers_are_written_as_people_do() -> None:
    from decimal import Decimal

    assert [format_number(Decimal(t)) for t in ("1200", "12.50", "0.05", "100", "1234.5")] == [
        "1,200",
        "12.5",
        "0.05",
        "100",
        "1,234.5",
    ]
    assert [with_unit(Decimal(t), "$") for t in ("2.5", "1200", "3.00")] == ["$2.50", "$1,200", "$3"]
    assert with_unit(Decimal("3.50"), "kg") == "3.5 kg"


def test_basic_stories_are_whole_numbers_up_to_a_hundred_and_never_stray() -> None:
    questions = generate_questions(Split.TRAIN, 1000, seed=0, min_steps=1, max_steps=4, level="basic", wrong_rate=0.0)
    for question in questions:
        assert all(value.denominator == 1 and 0 < value <= 100 for a, _, b, c in sums(question) for value in (a, b, c))
        assert all(result(a, operator, b) == c for a, operator, b, c in sums(question))
        assert not re.search(r"[%.]\d|\d[.,]\d|It is day|The bus takes", question.question)
