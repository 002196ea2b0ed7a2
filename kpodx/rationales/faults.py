"""Errors that servers report: finding them wherever they are, and what to do about each."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import re
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Literal

from kpodx.rationales.requests import FailureReason

Action = Literal["wait", "retry", "reject", "refuse", "stop"]
"""What to do: wait and send again, send again, count a rejection, count one if other requests are answered, or stop."""

Topic = Literal["", "key", "credit", "access", "model", "address"]
"""What a stop is about."""

_DEEPEST = 8
_MOST_NODES = 400
_LONGEST_WORDS = 2_000

_CODE_KEYS = frozenset(
    {
        "code", "type", "status", "error_type", "errortype", "error_code", "errorcode", "reason", "__type", "http_code",
        "statuscode", "status_code", "name",
    }
)  # fmt: skip
_WORD_KEYS = frozenset(
    {
        "message", "msg", "detail", "raw", "error", "error_description", "errormessage", "error_msg", "faultstring",
        "status_msg", "title", "description", "details", "errors", "fault",
    }
)  # fmt: skip
_WAIT_KEYS = {
    "retrydelay": 1.0,
    "retry_after": 1.0,
    "retry_after_seconds": 1.0,
    "retryafter": 1.0,
    "retry_after_ms": 0.001,
}

_UNITS = {
    "ms": 0.001,
    "milliseconds": 0.001,
    "m": 60.0,
    "min": 60.0,
    "minute": 60.0,
    "h": 3600.0,
    "hr": 3600.0,
    "hour": 3600.0,
}
_TIME = r"\d{1,9}(?:\.\d{1,12})?\s?(?:milliseconds|ms|minutes?|mins?|m|seconds?|secs?|s|hours?|hrs?|h)"
_TIMES = re.compile(
    rf"(?:try again|retry(?:ing)?|wait|available again)\b[^\d\n]{{0,30}}?((?:{_TIME}\s?){{1,4}})", re.IGNORECASE
)
_ONE_TIME = re.compile(r"(\d{1,9}(?:\.\d{1,12})?)\s?([a-z]+)", re.IGNORECASE)
_TITLE = re.compile(r"<title>([^<]{1,200})", re.IGNORECASE)


@dataclass(frozen=True)
class Fault:
    """An error that a server reports.

    Attributes:
        statuses: HTTP status codes, the one to go by first; empty if nothing gives one.
        codes: symbolic codes of the body, in lower case.
        words: the server's own words, in one line.
        params: names of the parameters that it refuses.
        wait_seconds: how long it asks to wait, None if it does not say.
        is_json: whether the body is JSON, as an API's is.
    """

    statuses: tuple[int, ...]
    codes: frozenset[str]
    words: str
    params: tuple[str, ...] = ()
    wait_seconds: float | None = None
    is_json: bool = False

    @property
    def status(self) -> int:
        """The status to go by, 0 for none."""
        return self.statuses[0] if self.statuses else 0


@dataclass(frozen=True)
class Verdict:
    """What to do about a fault: the action, why an item is rejected, and what a stop is about."""

    action: Action
    reason: FailureReason | None = None
    topic: Topic = ""


@dataclass(frozen=True)
class _Rule:
    """A verdict, and the codes, statuses and words that lead to it."""

    verdict: Verdict
    codes: frozenset[str] = frozenset()
    words: re.Pattern[str] | None = None
    statuses: frozenset[int] = frozenset()

    def holds(self, fault: Fault) -> bool:
        if fault.codes & self.codes or fault.status in self.statuses:
            return True
        return self.words is not None and self.words.search(fault.words) is not None


def _rule(verdict: Verdict, codes: str = "", words: str = "", statuses: Iterable[int] = ()) -> _Rule:
    pattern = re.compile(words, re.IGNORECASE) if words else None
    return _Rule(verdict, frozenset(codes.split()), pattern, frozenset(statuses))


_RULES = (
    _rule(
        Verdict("reject", "content_filter"),
        "content_filter content_filtered content_policy_violation responsibleaipolicyviolation data_inspection_failed "
        "datainspectionfailed moderation_blocked prohibited_content content_moderation_failed",
        r"content management policy|content[_ ]polic|content[_ ]filter|contentpolicyviolation|safety system|was flagged|"
        r"data may contain inappropriate content|blocked by .{0,40}(?:safety|guardrail)",
    ),
    _rule(
        Verdict("stop", topic="credit"),
        "insufficient_quota billing_hard_limit_reached billing_not_active insufficient_balance insufficient_credits "
        "budget_exceeded arrearage credit_balance_too_low account_overdue",
        r"insufficient (?:account )?(?:balance|credits?|funds|quota)|credit balance is too low|no credits? left|"
        r"out of credits?|budget has been exceeded|exceededbudget|crossed budget|exceeded budget|over budget|"
        r"requires more credits|account is not active|payment required|in arrears|good standing",
        [402],
    ),
    _rule(Verdict("reject", "prompt_too_long"), words=r"request too large for|request body too large"),
    _rule(
        Verdict("wait"),
        "rate_limit_exceeded rate_limit_error rate_limit_reached ratelimiterror ratelimitreached throttlingexception throttled "
        "ratelimitexceeded toomanyrequests toomanyrequestsexception too_many_requests overloaded_error overloaded engine_overloaded "
        "engine_overloaded_error resource_exhausted unavailable serviceunavailable serviceunavailableexception "
        "service_unavailable model_overloaded server_overloaded slow_down modelnotreadyexception capacity_exceeded "
        "service_tier_capacity_exceeded requests_per_minute_exceeded throttling throttling.ratequota",
        r"litellm\.ratelimiterror|throttlingexception",
        [429, 503, 529],
    ),
    _rule(
        Verdict("reject", "prompt_too_long"),
        "context_length_exceeded string_above_max_length exceed_context_size_error tokens_limit_reached context_exceeded "
        "contextwindowexceedederror request_too_large",
        r"maximum context|context (?:length|size|window)|contextwindowexceeded|maximum (?:model )?length|"
        r"(?:prompt|input) (?:\(.{0,40}\) )?is too long|too many tokens|exceeds the model'?s? max|"
        r"max_tokens must be at least 1, got -|`inputs` (?:tokens|must have less)|too large for model with \d+ maximum|"
        r"range of input length|input token count .{0,40}exceeds",
        [413],
    ),
    _rule(
        Verdict("stop", topic="key"),
        "invalid_api_key authentication_error invalid_authentication unauthenticated api_key_invalid invalidapikey "
        "unrecognizedclientexception expiredtokenexception auth_error",
        r"api key not valid|invalid api[ -]?key|incorrect api key|invalid x-api-key|no auth credentials|invalid proxy server token",
        [401],
    ),
    _rule(
        Verdict("stop", topic="model"),
        "model_not_found modelnotfound not_found_error notfounderror deploymentnotfound invalid_model model_not_exist "
        "resourcenotfoundexception model_not_available",
        r"\bmodel\b.{0,100}(?:does not exist|not found|not exist|is not a valid|is not available|not supported by)|"
        r"(?:invalid|unknown|no such) model\b|not a valid model id|model identifier is invalid|invalid model name",
        [404],
    ),
    _rule(Verdict("stop", topic="access"), "permission_denied permission_error accessdeniedexception", statuses=[403]),
    _rule(Verdict("stop", topic="address"), statuses=[*range(300, 400), 405, 410]),
)
"""The first rule that holds decides. Codes and words come before the status, which gateways often invent."""

_BUSY = re.compile(
    r"overloaded|rate.?limit|too many requests|try again|temporarily|at capacity|out of capacity|is (?:currently )?loading|"
    r"throttl|server is busy|upstream",
    re.IGNORECASE,
)
_QUOTA = re.compile(r"exceeded your current quota", re.IGNORECASE)


def judge_fault(fault: Fault) -> Verdict:
    """Return what to do about an error.

    >>> judge_fault(Fault((400,), frozenset(), "This model's maximum context length is 4096 tokens.")).reason
    'prompt_too_long'
    """
    # OpenAI's used-up account and Gemini's limits per minute use the same words; only the latter say how long to wait.
    if _QUOTA.search(fault.words) and fault.wait_seconds is None and "resource_exhausted" not in fault.codes:
        return Verdict("stop", topic="credit")
    for rule in _RULES:
        if rule.holds(fault):
            return rule.verdict
    if fault.status == 0 or fault.status >= 500:
        return Verdict("wait" if _BUSY.search(fault.words) else "retry", "server_error")
    if fault.status in (408, 409, 424, 425):
        return Verdict("retry", "server_error")
    return Verdict("refuse", "refused_request")


def read_fault(status: int, content: bytes) -> Fault:
    """Return the error of an answer with an error's status."""
    text = content[:100_000].decode("utf-8", "replace")
    try:
        document = json.loads(content)
    except (ValueError, RecursionError):
        return Fault((status,), frozenset(), read_words(text) or f"status {status}", wait_seconds=_asked_wait(text))
    return dataclasses.replace(_fault_in(document, status), is_json=isinstance(document, Mapping | list))


def find_fault(document: object) -> Fault | None:
    """Return the error that a document with a good status reports, None if it reports none."""
    if isinstance(document, list):
        found = (find_fault(one) for one in document[:4] if isinstance(one, Mapping))
        return next((fault for fault in found if fault is not None), None)
    if not isinstance(document, Mapping):
        return None
    places: list[object] = [document.get(name) for name in ("error", "errors", "fault")]
    choices = document.get("choices")
    if isinstance(choices, list) and choices and isinstance(choices[0], Mapping):
        message = choices[0].get("message")
        places += [choices[0].get("error"), message.get("error") if isinstance(message, Mapping) else None]
    places += [document] if _is_error_itself(document) else []
    errors = [place for place in places if _is_error(place)]
    return dataclasses.replace(_fault_in(errors[0], 0), is_json=True) if errors else None


def _is_error_itself(document: Mapping[str, Any]) -> bool:
    """Whether a whole document is an error: FastAPI, vLLM, DashScope, MiniMax and AWS have no field `error`."""
    if "error" in (document.get("object"), document.get("type")):
        return True
    base = document.get("base_resp")
    if isinstance(base, Mapping) and base.get("status_code"):
        return True
    words = {"message", "msg", "detail", "error_msg", "errorMessage", "Message"}
    is_completion = any(document.get(name) for name in ("choices", "content", "output", "response", "candidates"))
    texts = [document[name] for name in words & document.keys()]
    return not is_completion and "role" not in document and any(isinstance(t, str | list) and t for t in texts)


def _is_error(value: object, depth: int = 0) -> bool:
    """Whether a value says that something is wrong; `{"code": 0, "message": ""}` does not."""
    if isinstance(value, str):
        return value.strip().lower() not in ("", "null", "none", "false", "ok")
    if isinstance(value, Mapping | list) and depth < _DEEPEST:
        parts = value.values() if isinstance(value, Mapping) else value
        return any(_is_error(part, depth + 1) for part in parts)
    return bool(value)


@dataclass
class _Found:
    """What a walk through an error's document collects."""

    statuses: list[int] = field(default_factory=list)
    codes: set[str] = field(default_factory=set)
    words: list[str] = field(default_factory=list)
    params: list[str] = field(default_factory=list)
    waits: list[float] = field(default_factory=list)
    nodes: int = 0


def _fault_in(document: object, status: int) -> Fault:
    found = _Found()
    _walk(document, found, 0)
    words = " ".join(": ".join(dict.fromkeys(found.words)).split())[:_LONGEST_WORDS]
    inside = [code for code in found.statuses if code != status]
    is_own = 300 <= status < 500
    statuses = [status, *inside] if is_own else [*inside, *([status] if status >= 300 else [])]
    wait = max(found.waits) if found.waits else _asked_wait(words)
    name = "no words" if not found.codes else ", ".join(sorted(found.codes))
    return Fault(tuple(statuses), frozenset(found.codes), words or name, tuple(found.params), wait)


def _walk(node: object, found: _Found, depth: int) -> None:
    """Collect codes, words, parameters and pauses, the outer ones first."""
    found.nodes += 1
    if depth > _DEEPEST or found.nodes > _MOST_NODES:
        return
    if isinstance(node, str):
        _read_text(node, found, depth)
    elif isinstance(node, list):
        for part in node:
            _walk(part, found, depth + 1)
    elif isinstance(node, Mapping):
        _read_fields(node, found)
        for key, value in node.items():
            is_text = isinstance(value, str) and str(key).lower() in _WORD_KEYS
            if is_text or isinstance(value, Mapping | list):
                _walk(value, found, depth + 1)


def _read_text(text: str, found: _Found, depth: int) -> None:
    """Take a text as words, or as the JSON that it holds."""
    text = text[:100_000].strip()
    inside: object = None
    if text[:1] in ("{", "["):
        with contextlib.suppress(ValueError, RecursionError):
            inside = json.loads(text)
    if inside is not None:
        _walk(inside, found, depth + 1)
    elif text:
        found.words.append(read_words(text))


def _read_fields(node: Mapping[str, Any], found: _Found) -> None:
    for key, value in node.items():
        name = str(key).lower()
        if name in _CODE_KEYS and isinstance(value, str | int) and not isinstance(value, bool):
            _read_code(value, found)
        if name == "param" and isinstance(value, str):
            found.params.append(value)
        if name == "loc" and isinstance(value, list) and value:
            found.params.append(str(value[-1]))
        if name in _WAIT_KEYS and (seconds := _seconds(value, _WAIT_KEYS[name])) is not None:
            found.waits.append(seconds)


def _read_code(value: str | int, found: _Found) -> None:
    text = str(value).strip()
    if text.isascii() and text.isdigit():
        if len(text) == 3 and 300 <= int(text) < 600:
            found.statuses.append(int(text))
    elif text and len(text) <= 80 and text.isascii():
        # AWS writes "com.amazonaws.bedrock#ThrottlingException:http://…".
        found.codes.add(text.rpartition("#")[2].partition(":")[0].strip().lower())


def _seconds(value: object, unit: float) -> float | None:
    """Return a pause in seconds: a number, or a text such as "17s"."""
    if isinstance(value, int | float) and not isinstance(value, bool):
        return float(value) * unit if 0 <= value < 1e9 else None
    if not isinstance(value, str):
        return None
    number = re.fullmatch(r"\s*(\d{1,9}(?:\.\d{1,12})?)\s*", value)
    return float(number[1]) * unit if number else _sum_of_times(value[:60])


def _sum_of_times(text: str) -> float | None:
    times = _ONE_TIME.findall(text)
    seconds = [
        float(number) * _UNITS.get(unit.lower(), _UNITS.get(unit.lower().rstrip("s"), 1.0)) for number, unit in times
    ]
    return sum(seconds) if seconds else None


def _asked_wait(words: str) -> float | None:
    """Return the pause that a sentence asks for.

    >>> _asked_wait("Please try again in 1m30.5s."), _asked_wait("Retry after 20 seconds"), _asked_wait("Try again later")
    (90.5, 20.0, None)
    """
    match = _TIMES.search(words[:10_000])
    return _sum_of_times(match[1]) if match else None


def read_words(text: str) -> str:
    """Return a server's words in one line: an HTML page's title, else the text.

    >>> read_words("<html><head><title>502 Bad Gateway</title></head></html>")
    '502 Bad Gateway'
    """
    # A lone surrogate, which JSON can spell, is not a character and cannot be printed.
    text = text.encode("utf-8", "replace").decode()
    title = _TITLE.search(text[:10_000])
    return " ".join((title[1] if title else text[:_LONGEST_WORDS]).split())
