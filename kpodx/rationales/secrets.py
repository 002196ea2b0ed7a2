"""Keys stay out of every line that is written: messages, logs and tracebacks."""

from __future__ import annotations

import base64
import contextlib
import logging
import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import parse_qsl, quote, unquote, urlsplit

HIDDEN = "[hidden]"
_SHORTEST_SECRET = 4


@dataclass(frozen=True, repr=False)
class Secrets:
    """Texts that must not be written; its own `repr` does not show them."""

    texts: tuple[str, ...] = ()

    @classmethod
    def of(cls, values: Sequence[str | None]) -> Secrets:
        """The secrets among `values`: what is absent or too short to be one is left out; percent-encoded forms are added."""
        given = [value for value in values if value and len(value) >= _SHORTEST_SECRET]
        forms = {form for value in given for form in (value, quote(value, safe=""), unquote(value))}
        # The longest first, so that no part of one is left when another lies in it.
        return cls(tuple(sorted(forms, key=len, reverse=True)))

    def hide(self, text: str) -> str:
        """`text` with "[hidden]" in place of every secret, in whatever case; hide first, then cut."""
        for secret in self.texts:
            text = re.sub(re.escape(secret), HIDDEN, text, flags=re.IGNORECASE)
        return text

    @contextlib.contextmanager
    def kept_out_of_logs(self) -> Iterator[None]:
        """Hide them in every log line while the block runs, whoever writes it."""
        handlers = [*logging.getLogger().handlers, *logging.getLogger("openai").handlers]
        hiding = _Hiding(self)
        for handler in handlers:
            handler.addFilter(hiding)
        try:
            yield
        finally:
            for handler in handlers:
                handler.removeFilter(hiding)


NO_SECRETS = Secrets()


class _Hiding(logging.Filter):
    def __init__(self, secrets: Secrets) -> None:
        super().__init__()
        self._secrets = secrets

    def filter(self, record: logging.LogRecord) -> bool:
        """Rewrite the line; a traceback that goes with it is dropped, since its frames may quote a request."""
        record.msg, record.args = self._secrets.hide(record.getMessage()), ()
        record.exc_info = record.exc_text = None
        return True


def public_url(url: str) -> str:
    """An address without password and query.

    >>> public_url("https://me:pass@proxy.example/v1?key=1")
    'https://proxy.example/v1'
    """
    parts = urlsplit(url)
    host = parts.netloc.rpartition("@")[2]
    return f"{parts.scheme}://{host}{parts.path}".rstrip("/")


def secrets_in(url: str) -> list[str]:
    """What of an address must not be shown: user, password, both as basic authentication sends them, values of the query."""
    parts = urlsplit(url)
    found = [value for _, value in parse_qsl(parts.query)]
    if parts.username or parts.password:
        user, password = unquote(parts.username or ""), unquote(parts.password or "")
        basic = base64.b64encode(f"{user}:{password}".encode()).decode()
        found += [user, password, basic]
    return found
