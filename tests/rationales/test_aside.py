"""Who is to blame for unusable answers: the request or the server."""

from __future__ import annotations

from kpodx.errors import TeacherError
from kpodx.rationales.aside import MOST_IN_A_ROW, Aside, SetAside
from kpodx.rationales.requests import Failure, Message, Request

STOP = TeacherError("no usable answer")


def item(number: int, stop: TeacherError | None = STOP) -> SetAside:
    request = Request("m", (Message("user", str(number)),), {"max_tokens": 1})
    return SetAside(Failure(request, "broken_answer"), "odd", stop)


def delivered_by(*, was_proven: bool) -> tuple[Aside, list[Failure]]:
    found: list[Failure] = []
    return Aside(found.append, was_proven=was_proven), found


def test_the_second_one_stops_a_server_that_has_never_answered() -> None:
    aside, found = delivered_by(was_proven=False)
    assert aside.put(item(1)) is None
    assert aside.is_unproven
    assert aside.put(item(2)) == item(1)
    assert found == []


def test_an_answer_to_another_request_blames_the_first() -> None:
    aside, found = delivered_by(was_proven=False)
    aside.put(item(1))
    aside.answered()
    assert (found, aside.is_unproven) == ([item(1).failure], False)
    assert aside.put(item(2)) is None
    assert aside.put(item(3)) is None
    assert (aside.close(), len(found)) == ([], 3)


def test_ten_in_a_row_stop_a_server_that_answered_before() -> None:
    aside, found = delivered_by(was_proven=True)
    blamed = [aside.put(item(number)) for number in range(MOST_IN_A_ROW)]
    assert blamed == [None] * (MOST_IN_A_ROW - 1) + [item(0)]
    assert found == [], "they are asked again"


def test_what_a_server_that_is_down_answers_waits_for_a_later_answer_or_another_run() -> None:
    aside, found = delivered_by(was_proven=False)
    assert [aside.put(item(number, None)) for number in range(2)] == [None, None]
    assert not aside.is_unproven
    aside.answered()
    aside.put(item(3, None))
    assert aside.close() == [item(3, None)]
    assert len(found) == 2
    again, found = delivered_by(was_proven=True)
    again.put(item(3, None))
    assert (again.close(), len(found)) == ([], 1)
