"""Which parameters a server takes: what it refuses is sent in another form, once, and remembered."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.faults import Fault
from kpodx.rationales.requests import Request
from kpodx.rationales.wire import request_body

_LIMITS = ("max_tokens", "max_completion_tokens")

_SETTINGS = {
    "temperature": "rationales.sampling.temperature and answer_temperature",
    "top_p": "rationales.sampling.top_p",
    "stop": "rationales.sampling.stop",
    "seed": "rationales.sampling.seed",
    "max_tokens": "rationales.sampling.max_tokens and answer_max_tokens, or rationales.openai.max_tokens_parameter",
    "max_completion_tokens": "rationales.sampling.max_tokens and answer_max_tokens, or rationales.openai.max_tokens_parameter",
    "model": "rationales.openai.model",
    "messages": "rationales.prompt, such as its system message",
    "prompt": "rationales.openai.api",
}

_UNSUPPORTED_CODES = frozenset({"unsupported_parameter", "unsupported_value", "unknown_parameter", "extra_forbidden"})
_UNSUPPORTED = re.compile(
    r"unsupported|not support|not permitted|not allowed|unrecognized|unknown (?:parameter|field|name|argument)|takes no\b|"
    r"deprecated|\bonly\b.{0,40}\b1\b|default \(1\)|cannot be (?:set|used|specified)|must (?:be|equal) 1\b|extra inputs|"
    r"use '?max_(?:completion_)?tokens|no longer|unexpected",
    re.IGNORECASE,
)
_INVALID = re.compile(
    r"invalid|cannot both|too large|too high|must be|out of range|at most|at least|less than|greater than",
    re.IGNORECASE,
)
_ONLY_ONE = re.compile(r"\b(?:only|must)\b.{0,60}?\b1(?:\.0)?\b|default \(1\)", re.IGNORECASE)
_RANGE = re.compile(r"between|less than|greater than|at most|at least|positive|range|[<>≤≥]", re.IGNORECASE)
_ABSENT = "absent"


class Dialect:
    """What equal servers want otherwise than the settings have it; shared by all requests of a teacher.

    Args:
        config: the settings of the teacher.
    """

    def __init__(self, config: OpenAIConfig) -> None:
        self._config = config
        self._limit: str | None = None
        self._temperature: float | str | None = None
        self._refused: set[str] = set()
        self.version = 0

    def body(self, request: Request) -> dict[str, Any]:
        """Return the JSON of a request, as these servers take it."""
        body = request_body(request, self._config)
        for name in _LIMITS:
            if self._limit and name in body:
                body = {self._limit if key == name else key: value for key, value in body.items()}
        if self._temperature == _ABSENT:
            body.pop("temperature", None)
        elif self._temperature is not None and "temperature" in body:
            body["temperature"] = self._temperature
        return body

    def adapted(self, request: Request) -> str:
        """Return what was changed about a request, in words; empty for nothing."""
        asked, sent = request_body(request, self._config), self.body(request)
        changes = [
            f"{name} {sent.get(name, _ABSENT)} instead of {value}"
            for name, value in asked.items()
            if name not in _LIMITS and sent.get(name, _ABSENT) != value
        ]
        if self._limit and self._limit not in asked:
            changes.append(f"{self._limit} instead of {next(name for name in _LIMITS if name in asked)}")
        return "; ".join(changes)

    def adapt(self, fault: Fault, sent: Mapping[str, Any]) -> bool:
        """Learn from the refusal of a body that was sent; return whether it is worth sending the request again."""
        name = refused_parameter(fault, sent)
        if name is None or not _is_unsupported(fault):
            return False
        if name in _LIMITS:
            return self._rename_limit(name)
        if name == "temperature":
            return self._change_temperature(fault, sent["temperature"])
        return False

    def _rename_limit(self, name: str) -> bool:
        other = _LIMITS[1 - _LIMITS.index(name)]
        if self._limit is not None and self._limit != name:
            return True  # another request learned it meanwhile
        if other in self._refused or self._config.api == "completions":
            return False
        self._refused.add(name)
        self._limit = other
        self.version += 1
        return True

    def _change_temperature(self, fault: Fault, sent: float) -> bool:
        if self._temperature == _ABSENT or (self._temperature is not None and self._temperature != sent):
            return True  # another request learned it meanwhile
        if _RANGE.search(fault.words) and not _ONLY_ONE.search(fault.words):
            return False
        self._temperature = 1.0 if _ONLY_ONE.search(fault.words) and sent != 1 else _ABSENT
        self.version += 1
        return True


def refused_parameter(fault: Fault, sent: Mapping[str, Any]) -> str | None:
    """Return which parameter of a body that was sent the server refuses, None if it concerns no single one.

    >>> refused_parameter(Fault((400,), frozenset(), "Use 'max_completion_tokens', not 'max_tokens'."), {"max_tokens": 5})
    'max_tokens'
    """
    for param in fault.params:
        name = re.split(r"[.\[]", param)[0]
        if name in sent and (name != "messages" or "role" in param):
            return name
    if not (_is_unsupported(fault) or _INVALID.search(fault.words)):
        return None
    places = {
        match.start(): name
        for name in sent
        if name not in ("model", "messages", "prompt")
        and (match := re.search(rf"(?<![\w.]){re.escape(name)}(?!\w)", fault.words))
    }
    return places[min(places)] if places else None


def setting_of(name: str) -> str:
    """Return the setting that changes a parameter."""
    return _SETTINGS.get(name, f"rationales.openai.extra.{name}")


def _is_unsupported(fault: Fault) -> bool:
    return bool(fault.codes & _UNSUPPORTED_CODES) or _UNSUPPORTED.search(fault.words) is not None
