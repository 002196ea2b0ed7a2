r"""Answers that are mathematics: read whole or not at all, compared by their meaning, within bounds."""

from __future__ import annotations

import importlib.util
import multiprocessing
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.errors import KpodxError, MissingDependencyError
from kpodx.schema import AnswerKind, Question, Split
from kpodx.text import math_process, math_worker
from kpodx.text.answers import answers_equal, canonical_answer, extract_answer
from kpodx.text.judging import judge
from kpodx.text.math_process import MathProcess, compare, require_math_verify
from kpodx.text.mathematics import compare_ahead, equal_formulas, read_formula, tidy_formula
from kpodx.text.symbolic import is_symbolic, states_formula

needs_math = pytest.mark.skipif(
    importlib.util.find_spec("math_verify") is None, reason="needs math-verify: pip install 'kpodx[math]'"
)

SYMBOLIC = [
    *(
        r"\sqrt{51}",
        "2k+2",
        "2(2k+1)",
        r"(2, \infty)",
        "x+5",
        "5x",
        "(3,4)",
        "[1,2]",
        r"\{1, 2\}",
        "x > 5",
        r"x \leq 5",
    ),
    *("1010_2", r"1010_{2}", r"3\pi", "3π", "√16", r"\frac{1}{2}x", r"\frac{x}{2}", "3+2i", "y = 2x", "1/2 + k", "a^2"),
    *(
        "sqrt(51)",
        "k(k+1)",
        "n/2",
        "f(x)",
        r"0.\overline{3}",
        r"\pm 3",
        "±3",
        r"10^{n}",
        "2A + 3",
        "$2k+2$",
        "2xy",
        "4k",
    ),
    *(r"\(\sqrt{2}\)", r"\infty", "-x+3", "3x^2", "|x|", "x_1 = 3", r"\begin{pmatrix}1\\2\end{pmatrix}"),
]
ONE_NUMBER = {
    r"90^\circ": "90",
    r"90^{\circ}": "90",
    "90°": "90",
    r"12 \frac{3}{5}": "12.6",
    r"12\frac{3}{5}": "12.6",
    r"-12\frac35": "-12.6",
    r"\frac43": "4/3",
    r"\frac4{3}": "4/3",
    r"\frac{13}4": "3.25",
    r"\frac{3}{4}": "0.75",
    r"\dfrac{1}{2}": "0.5",
    r"-\tfrac12": "-0.5",
    r"50\%": "50",
    r"\$5": "5",
    "$1,080": "1080",
    "1,00,000": "100000",
    "18 apples": "18",
    "9 (apples)": "9",
    "5 m/s": "5",
    "60 km/h": "60",
    "3 m^2": "3",
    "x = 5": "5",
    "5 x 3 = 15": "15",
    r"6 \times 10^3": "6000",
    "1.5e3": "1500",
    r"\text{5 apples}": "5",
    r"$\frac{3}{4}$": "0.75",
    r"\boxed{5}": "5",
    "5k run": "5",
}


@pytest.mark.parametrize("answer", SYMBOLIC)
def test_mathematics_is_never_read_as_a_number_in_part(answer: str) -> None:
    assert is_symbolic(answer)
    assert canonical_answer(answer, AnswerKind.NUMBER) is None
    assert extract_answer(f"So the answer is {answer}.", AnswerKind.NUMBER) is None
    assert extract_answer(f"So it is \\boxed{{{answer}}}.", AnswerKind.NUMBER) is None


@pytest.mark.parametrize(("answer", "number"), ONE_NUMBER.items())
def test_one_number_stays_readable(answer: str, number: str) -> None:
    assert not is_symbolic(answer)
    assert canonical_answer(answer, AnswerKind.NUMBER) == number
    assert extract_answer(f"So the answer is {answer}.", AnswerKind.NUMBER) == number


@pytest.mark.parametrize("list_", ["1, 2", "1,2,3", "3; 4", "x"])
def test_a_list_is_not_one_number(list_: str) -> None:
    assert canonical_answer(list_, AnswerKind.NUMBER) is None


@pytest.mark.parametrize(
    "segment",
    [
        " 12, because 2k + 2 = 26.",
        " 5, 6 more than I have.",
        " 18 - a lot less than x + 3.",
        " B) 18",
        " $5 and he has x + 3 left.",
        " 5 - I think.",
        " 5, which is 2x.",
    ],
)
def test_mathematics_behind_a_number_does_not_matter(segment: str) -> None:
    assert not states_formula(segment)


@pytest.mark.parametrize(
    ("text", "formula"),
    [
        (r"Thus \boxed{2k+2}.", "2k+2"),
        (r"Thus \boxed{\frac{\sqrt{3}}{2}}.", r"\frac{\sqrt{3}}{2}"),
        (r"Thus \boxed{\text{no solution}}.", r"\text{no solution}"),
        (r"The answer is $\dfrac{1}{2}$.", r"\frac{1}{2}"),
        ("The answer is:\n\\[\nx = 3.\n\\]\n", "x = 3"),
        (r"The answer is $$\left(2, \infty\right)$$", r"(2, \infty)"),
        (r"The answer is \(2k+2\) for every k.", "2k+2"),
        ("The answer is $x=2$ or $x=3$.", "x=2, x=3"),
        ("#### (2, \\infty)", r"(2, \infty)"),
        ("Answer: x + 5 apples", "x + 5"),
        ("The answer is 3√2 cm.", r"3\sqrt{2}"),
        ("The answer is sqrt(51)/2, because of this.", r"\sqrt{51}/2"),
        ("The answer is **2k+2**.", "2k+2"),
        ("The answer is no solution.", "no solution"),
        ("The answer is $5.", "5"),
        (r"So \boxed{\frac{1}{2", None),
        ("It is 2k+2.", None),
        ("The answer is .", None),
    ],
)
def test_formulas_are_read_after_their_announcement(text: str, formula: str | None) -> None:
    assert extract_answer(text, AnswerKind.MATH) == formula


@pytest.mark.parametrize("raw", ["", "$", "{}", "\\frac{1}{", "x" * 401, "..."])
def test_what_is_no_whole_formula_is_refused(raw: str) -> None:
    assert tidy_formula(raw) is None
    assert canonical_answer(raw, AnswerKind.MATH) is None


@settings(deadline=None)
@given(st.text(max_size=120))
def test_tidying_is_stable_and_reading_raises_nothing(text: str) -> None:
    tidy = tidy_formula(text)
    assert tidy is None or tidy_formula(tidy) in (tidy, None)
    assert read_formula(text) is None or read_formula(text) != ""


@pytest.mark.parametrize("unit", ["$", "\\(", "\\frac{", "sqrt(", "{", "x", "1, ", "√(", " or ", "\\text{", "2k+"])
def test_reading_time_is_linear_in_the_length(unit: str) -> None:
    text = (unit * 100_000)[:100_000]
    started = time.process_time()
    read_formula(text)
    tidy_formula(text)
    is_symbolic(text)
    states_formula(text)
    assert time.process_time() - started < 2


EQUAL = [
    ("2k + 2", "2k+2", True),
    (r"\text{Sunday}", "sunday", True),
    ("Sunday", "Monday", False),
    ("dusnay", "sunday", False),
    ("17", "18", False),
    ("007", "7", True),
    ("1010", "1010_2", False),
    ("1010_{2}", "1010_2", False),
]


@pytest.mark.parametrize(("predicted", "reference", "expected"), EQUAL[:-1])
def test_easy_comparisons_need_no_process(
    predicted: str, reference: str, expected: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(math_process, "MathProcess", None)
    assert equal_formulas(predicted, reference) is expected


@needs_math
@pytest.mark.parametrize(
    ("predicted", "reference", "expected"),
    [
        (r"\frac{\sqrt{204}}{2}", r"\sqrt{51}", True),
        ("4k+2", "2(2k+1)", True),
        ("4k+3", "2(2k+1)", False),
        ("x > 2", r"(2, \infty)", True),
        (r"[2, \infty)", r"(2, \infty)", False),
        ("2", "2k+2", False),
        ("(x+1)^2", "x^2+2x+1", True),
        ("63/5", r"12 \frac{3}{5}", True),
        ("90", r"90^\circ", True),
        (r"\frac{8}{6}", r"\frac43", True),
        ("3, 2", "2, 3", True),
        ("(3, 2)", "(2, 3)", False),
        (r"2\pi", "2π", True),
        (r"10\text{ cm}", "10", True),
        ("10 cm", r"10 \text{cm}", True),
        (r"10\text{ m}", r"10\text{ cm}", False),
        (r"\sqrt{2} \mathrm{cm}^2", r"\sqrt{2}", True),
        ("3t", "3", False),
        ("2c", "c + c", True),
        (r"\text{north}", "2k", False),
        (r"\frac{1}{", "2k", False),
        (r"\unknowncommand", r"\otherunknown", False),
    ],
)
def test_formulas_are_compared_by_their_meaning(predicted: str, reference: str, expected: bool) -> None:
    tidy = canonical_answer(reference, AnswerKind.MATH)
    assert tidy is not None
    assert answers_equal(tidy_formula(predicted), tidy, AnswerKind.MATH) is expected


@needs_math
def test_a_hostile_formula_is_bounded_and_costs_only_itself(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    comparer = math_process._Comparer()
    pairs = [("x+x", "2x"), ("9^{9^{9^{9}}}", "1"), ("x+y", "y+x"), ("x+x", "2x")]
    try:
        started = time.process_time()
        assert comparer.compare(pairs) == [True, False, True, True]
        assert time.process_time() - started < 5
    finally:
        comparer.stop()
    assert "could not be compared within the bounds" in caplog.text


@needs_math
def test_a_process_that_says_nothing_is_replaced(monkeypatch: pytest.MonkeyPatch) -> None:
    comparer = math_process._Comparer()
    try:
        assert comparer.compare([("x+x", "2x")]) == [True]
        first = comparer._process
        assert first is not None
        # It may no longer say anything, however fast it is.
        os.kill(first._process.pid, signal.SIGSTOP)
        monkeypatch.setattr(math_process, "REPLY_SECONDS", 0.2)
        assert comparer.compare([("y+y", "2y")]) == [False]
        monkeypatch.undo()
        assert comparer.compare([("z+z", "2z")]) == [True]
        assert comparer._process is not first
    finally:
        comparer.stop()


@needs_math
def test_a_killed_process_is_replaced() -> None:
    comparer = math_process._Comparer()
    try:
        comparer.compare([("x+x", "2x")])
        assert comparer._process is not None
        comparer._process._process.kill()
        comparer._process._process.wait()
        assert comparer.compare([("y+y", "2y"), ("z+z", "2z")])[1]
    finally:
        comparer.stop()


@needs_math
def test_threads_share_one_process() -> None:
    found: list[bool] = []
    threads = [
        threading.Thread(target=lambda n=n: found.append(equal_formulas(f"x+{n}x", f"{n + 1}x"))) for n in range(2, 8)
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 6


def _compare_in_child(results: multiprocessing.Queue[bool]) -> None:
    results.put(equal_formulas("a+a+a", "3a"))


@needs_math
@pytest.mark.filterwarnings("ignore:This process:DeprecationWarning")
def test_a_fork_starts_its_own_process() -> None:
    assert equal_formulas("b+b", "2b")
    context = multiprocessing.get_context("fork")
    results: multiprocessing.Queue[bool] = context.Queue()
    child = context.Process(target=_compare_in_child, args=(results,))
    child.start()
    assert results.get(timeout=60)
    child.join(60)
    assert equal_formulas("c+c", "2c")


@needs_math
def test_modules_of_the_current_directory_are_not_imported(tmp_path: Path) -> None:
    for name in ("math_verify", "sympy", "kpodx", "json"):
        (tmp_path / f"{name}.py").write_text("open('imported', 'w').close()\nraise SystemExit('foreign')\n")
    package = str(Path(math_process.__file__).parents[2])
    code = "from kpodx.text.mathematics import equal_formulas; print(equal_formulas('x+x', '2x'))"
    environment = {**os.environ, "PYTHONPATH": package}
    done = subprocess.run(
        [sys.executable, "-P", "-c", code], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "True\n"
    assert not (tmp_path / "imported").exists()


def test_the_process_gets_no_keys(monkeypatch: pytest.MonkeyPatch) -> None:
    given: dict[str, object] = {}

    def popen(command: list[str], **options: object) -> None:
        given.update(options, command=command)
        raise OSError("not now")

    monkeypatch.setenv("OPENAI_API_KEY", "secret")
    monkeypatch.setattr(subprocess, "Popen", popen)
    with pytest.raises(OSError, match="not now"):
        MathProcess()
    assert "OPENAI_API_KEY" not in str(given["env"])
    assert "-P" in str(given["command"])


def test_a_missing_package_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(importlib.util, "find_spec", lambda name: None)
    with pytest.raises(MissingDependencyError, match="math-verify") as caught:
        require_math_verify()
    assert (caught.value.exit_code, caught.value.hint) == (5, "pip install 'kpodx[math]'")
    comparer = math_process._Comparer()
    with pytest.raises(MissingDependencyError):
        comparer.compare([("x+x", "2x")])


def test_a_process_that_does_not_start_is_reported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/bin/false")
    with pytest.raises(KpodxError, match="does not start"):
        MathProcess()


def test_other_kinds_do_not_load_math_verify() -> None:
    code = (
        "import sys; from kpodx.schema import AnswerKind as K; from kpodx.text.answers import *\n"
        "for k in K: extract_answer('The answer is 2k+2.', k, ['a'])\n"
        "for k in K: answers_equal('2', '2', k)\n"
        "print(sorted({'math_verify', 'sympy', 'kpodx.text.math_process'} & sys.modules.keys()))"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "[]\n"


@needs_math
def test_judging_asks_once_for_all_questions(monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[int] = []

    def counting(pairs: list[tuple[str, str]]) -> list[bool]:
        asked.append(len(pairs))
        return compare(pairs)

    questions = [Question(str(n), Split.TEST, "?", f"{n}k+{n}", AnswerKind.MATH) for n in range(2, 6)]
    outputs = [f"So the answer is ${n}(k+1)$." for n in range(2, 5)] + ["So the answer is 5k."]
    monkeypatch.setattr(math_process, "compare", counting)
    predictions = list(judge(questions, outputs))
    assert [prediction.correct for prediction in predictions] == [True, True, True, False]
    assert asked[0] == 4
    compare_ahead([("7", "8"), ("x", "x")])
    assert len(asked) == 5


def test_the_worker_bounds_its_time_by_what_it_has_used() -> None:
    assert math_worker.time_used() > 0


def test_a_formula_that_is_too_long_is_not_compared(monkeypatch: pytest.MonkeyPatch) -> None:
    """Reading refuses it; a comparison must not start a process for it either."""
    monkeypatch.setattr(math_process, "compare", lambda _pairs: pytest.fail("asked the process"))
    assert not equal_formulas("(" * 5000, "31")
    assert not equal_formulas("31", "x" * 401)
