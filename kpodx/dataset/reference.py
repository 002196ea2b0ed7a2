"""Reference answers as sources write them: alone, in lists, as scores of options, as dates in parts."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

from kpodx.dataset.options import unquoted_list

_DATE = ("day", "month", "year")


@dataclass(frozen=True)
class Several:
    """More than one answer, so that none is the reference; `values` as the source has them."""

    values: tuple[Any, ...]


def is_empty(value: object) -> bool:
    """Return whether a field holds nothing: null, an empty text, or a list or object of nothing else.

    >>> is_empty({"day": "", "month": " "}), is_empty([]), is_empty(0), is_empty(False)
    (True, True, False, False)
    """
    if isinstance(value, str):
        return not value.strip()
    if isinstance(value, Mapping):
        return all(map(is_empty, value.values()))
    if isinstance(value, list | tuple):
        return all(map(is_empty, value))
    return value is None


def single_answer(value: Any) -> Any:
    """Return the one answer that a field holds, or Several.

    A list of one is its item, also as a text ("[39.0]"); equal items are one. Scores of options give the best option. A date
    in parts is joined.

    >>> single_answer("[39.0]"), single_answer(["a", "a"]), single_answer({"yes": 0, "no": 1})
    (39.0, 'a', 'no')
    >>> single_answer({"day": "", "month": "May", "year": "1990"}), single_answer(["a", "b"])
    ('May 1990', Several(values=('a', 'b')))
    """
    listed = unquoted_list(value)
    if isinstance(value, str) and not (
        isinstance(listed, list) and listed and all(item == listed[0] for item in listed)
    ):
        return announced_part(value)
    if isinstance(listed, Mapping):
        return _of_object(listed)
    if not isinstance(listed, list | tuple):
        return value
    distinct: list[Any] = []
    for item in listed:
        if not is_empty(item) and item not in distinct:
            distinct.append(item)
    return single_answer(distinct[0]) if len(distinct) == 1 else Several(tuple(distinct))


def announced_part(text: str) -> str:
    r"""Return the answer in a whole solution: its last `\boxed{…}`, or what follows its last `####`; else the text.

    >>> announced_part(r"So it is \boxed{\frac{1}{2}}."), announced_part("3 + 4 = 7\n#### 7"), announced_part("7")
    ('\\frac{1}{2}', '7', '7')
    """
    boxed, marked = text.rfind("\\boxed{"), text.rfind("####")
    if boxed < 0:
        return text[marked + 4 :].strip() if marked >= 0 else text
    start, depth = boxed + len("\\boxed{"), 1
    for at in range(start, len(text)):
        depth += (text[at] == "{") - (text[at] == "}")
        if depth == 0:
            return text[start:at].strip()
    return text


def _of_object(value: Mapping[Any, Any]) -> Any:
    scores = {key: score for key, score in value.items() if isinstance(score, int | float)}
    if scores and len(scores) == len(value):
        best = [key for key, score in scores.items() if score == max(scores.values())]
        return best[0] if len(best) == 1 else Several(tuple(best))
    if set(value) <= set(_DATE):
        return " ".join(str(value[part]).strip() for part in _DATE if not is_empty(value.get(part)))
    return value


def first_filled(values: Mapping[str, Any]) -> tuple[str, Any]:
    """Return name and value of the first that holds something, of the last if none does.

    >>> first_filled({"a": "", "b": 0, "c": 1}), first_filled({"a": ""})
    (('b', 0), ('a', ''))
    """
    filled = [(name, value) for name, value in values.items() if not is_empty(value)]
    return filled[0] if filled else list(values.items())[-1]
