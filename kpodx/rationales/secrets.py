"""Keys stay out of every line that is written: messages, logs and tracebacks."""

from __future__ import annotations

import contextlib
import logging
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from urllib.parse import quote, urlsplit

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
        forms = {form for value in given for form in (value, quote(value, safe=""))}
        # The longest first, so that no part of one is left when another lies in it.
        return cls(tuple(sorted(forms, key=len, reverse=True)))

    def hide(self, text: str) -> str:
        """`text` with "[hidden]" in place of every secret."""
        for secret in self.texts:
            text = text.replace(secret, HIDDEN)
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


def password_in(url: str) -> str | None:
    """The password in an address, if any."""
    return urlsplit(url).password
