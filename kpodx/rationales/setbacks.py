"""What follows from an error of a server: send again, send in another form, count a rejection, or stop."""

from __future__ import annotations

import time
from collections.abc import Mapping
from typing import Any

from kpodx.errors import TeacherRefusedError
from kpodx.rationales.access import Access
from kpodx.rationales.aside import SetAside
from kpodx.rationales.config import OpenAIConfig
from kpodx.rationales.dialect import Dialect
from kpodx.rationales.faults import Fault, judge_fault
from kpodx.rationales.hints import about, hint_of, known_models, parameter_hint
from kpodx.rationales.pacing import LONGEST_PAUSE, retry_after
from kpodx.rationales.replicas import Replica
from kpodx.rationales.replies import Body
from kpodx.rationales.requests import Failure, FailureReason, Request
from kpodx.runtime import Progress

LONGEST_GROWN_PAUSE = 60.0
"""Longest pause that a server did not ask for, in seconds."""


class PassingError(Exception):
    """An error after which the request is sent again.

    Args:
        why: what went wrong, for people, without secrets.
        wait_seconds: how long the server asks to wait, None if it does not say.
        is_answer: whether the server was reached and speaks the API, so that the address is right.
        failure: what the request counts as if this stays so and the server answers others; None for unanswered.
        is_down: whether a server that is down answers like this.
    """

    def __init__(
        self,
        why: str,
        wait_seconds: float | None = None,
        *,
        is_answer: bool = True,
        failure: Failure | None = None,
        is_down: bool = False,
    ) -> None:
        super().__init__(why)
        self.why, self.wait_seconds, self.is_answer = why, wait_seconds, is_answer
        self.failure, self.is_down = failure, is_down


class RefusedError(Exception):
    """The server refuses one request, for whatever reason."""

    def __init__(self, item: SetAside) -> None:
        super().__init__(item.why)
        self.item = item


class AdaptedError(Exception):
    """The server wants other parameters: the request is sent again, with those."""


class Setbacks:
    """Decides about errors of one teacher's servers.

    Args:
        config: the settings of the teacher.
        access: addresses and key.
        dialect: what the servers are known to take; grows.
        progress: where notes go.
    """

    def __init__(self, config: OpenAIConfig, access: Access, dialect: Dialect, progress: Progress) -> None:
        self._config, self._access, self._dialect, self._progress = config, access, dialect, progress

    async def treat(
        self,
        request: Request,
        replica: Replica,
        fault: Fault,
        sent: Mapping[str, Any],
        headers: Mapping[str, str],
        body: Body | None,
        *,
        is_proven: bool,
    ) -> Failure:
        """Return the rejection that an error means for its request.

        Args:
            request: what was asked.
            replica: which server reports the error.
            fault: the error.
            sent: the JSON of the request.
            headers: of the answer; names in lower case.
            body: what came with the error under a good status, None under an error's status.
            is_proven: whether the teacher has answered such requests.

        Raises:
            PassingError: the request is to be sent again.
            AdaptedError: the request is to be sent in another form.
            RefusedError: the request alone may be refused.
            TeacherRefusedError: all requests are refused.
        """
        verdict, everything = judge_fault(fault), {**sent, **self._config.extra}
        reason: FailureReason = "server_error" if verdict.action == "wait" else "refused_request"
        failure = self._failure(request, verdict.reason or reason, fault, body)
        if verdict.action == "reject":
            return failure
        said = about(fault, replica.url, self._config, self._access.secrets)
        if verdict.action != "wait":
            self._adapt(fault, everything, request, replica)
        if verdict.action in ("wait", "retry"):
            is_blamed = fault.status != 429 if body is not None else fault.status == 500 and fault.is_json
            error = self._passing(replica, fault, headers, said)
            error.failure, error.is_down = failure if is_blamed else None, body is None
            raise error
        parameter = parameter_hint(fault, everything)
        hint = parameter or hint_of(verdict.topic, self._config, request)
        if verdict.action == "refuse" and (parameter is None or is_proven):
            raise RefusedError(SetAside(failure, said, TeacherRefusedError(said, hint=hint)))
        if verdict.topic == "model":
            hint = await known_models(replica.client, self._config.model, self._access.secrets)
        raise TeacherRefusedError(said, hint=hint)

    def _failure(self, request: Request, reason: FailureReason, fault: Fault, body: Body | None) -> Failure:
        """Return what a request with an error counts as; what a model wrote before it is kept."""
        hide = self._access.secrets.hide
        if body is None or not (body.text or body.thought):
            return Failure(request, reason, hide(fault.words), body.usage if body else None)
        finish, thought = hide(body.finish_reason), hide(body.thought)
        return Failure(request, reason, hide(body.text), body.usage, finish_reason=finish, thought=thought)

    def _adapt(self, fault: Fault, sent: Mapping[str, Any], request: Request, replica: Replica) -> None:
        """Raise AdaptedError if the server wants a parameter in another form, and say so once."""
        version = self._dialect.version
        if self._dialect.adapt(fault, sent):
            if self._dialect.version != version:
                self._progress.note(f"{replica.url} wants other parameters: {self._dialect.adapted(request)}.")
            raise AdaptedError

    def _passing(self, replica: Replica, fault: Fault, headers: Mapping[str, str], said: str) -> PassingError:
        """Return the error of a server that asks to wait, or failed itself; let it rest as long as it asks to."""
        asked = retry_after(headers, time.time())
        wait = fault.wait_seconds if asked is None else asked
        wait = None if wait is None else min(wait, LONGEST_PAUSE)
        if fault.status == 429 or wait is not None:
            replica.pace.rest(1.0 if wait is None else wait)
            replica.pace.learn(headers)
        if wait is not None and wait > LONGEST_GROWN_PAUSE:
            self._progress.note(f"{replica.url} asks to wait {wait:.0f} seconds.")
        return PassingError(said, wait)
