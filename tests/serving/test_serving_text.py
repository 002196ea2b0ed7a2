"""Text that is given out piece by piece, and the pages of counters."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from kpodx.serving.answer_text import AnswerText
from kpodx.serving.metrics import Counter, Histogram, Metrics


@given(st.text("abc", max_size=30), st.lists(st.text("abc", min_size=1, max_size=3), max_size=3), st.integers(1, 4))
def test_pieces_make_the_text_up_to_the_first_stop(text: str, stops: list[str], size: int) -> None:
    """However many characters come at a time."""
    answer, pieces = AnswerText(stops), []
    for end in range(size, len(text) + size, size):
        pieces.append(answer.piece(text[:end], is_last=end >= len(text)))
        if answer.is_stopped:
            break
    assert "".join(pieces) == answer.whole
    assert text.startswith(answer.whole)
    assert answer.is_stopped == any(stop in text for stop in stops)
    assert not any(stop in answer.whole for stop in stops)


def test_a_space_that_a_tokenizer_takes_back_loses_no_text() -> None:
    answer = AnswerText()
    assert answer.piece("it '") == "it '"
    assert answer.piece("it's") == ""
    assert answer.piece("it's fine", is_last=True) == "'s fine"
    assert answer.whole == "it's fine"


def test_a_character_that_never_becomes_whole_is_shown_at_the_end() -> None:
    answer = AnswerText()
    assert [answer.piece("a\ufffd"), answer.piece("a\ufffd", is_last=True)] == ["", "a\ufffd"]


def test_counters_and_histograms() -> None:
    counter, histogram = Counter("eggs_total", "Eggs.", ("colour",)), Histogram("seconds", "Seconds.")
    counter.add("brown", amount=2)
    counter.add("brown")
    for seconds in (0.02, 0.05, 1000):
        histogram.observe(seconds)
    assert list(counter.lines())[-1] == 'eggs_total{colour="brown"} 3'
    lines = list(histogram.lines())
    assert 'seconds_bucket{le="0.01"} 0' in lines
    assert 'seconds_bucket{le="0.05"} 2' in lines
    assert lines[-3:] == ['seconds_bucket{le="+Inf"} 3', "seconds_sum 1000.07", "seconds_count 3"]
    assert Metrics().text([("gauge", "It is.", {}, 1.5)]).endswith("# TYPE gauge gauge\ngauge 1.5\n")
