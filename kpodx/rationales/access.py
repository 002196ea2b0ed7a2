"""Where a teacher's servers are, the key, and the client that talks to them."""

from __future__ import annotations

import importlib.util
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

from kpodx.errors import ConfigError, MissingDependencyError
from kpodx.rationales.config import OpenAIConfig, is_address
from kpodx.rationales.secrets import Secrets, public_url, secrets_in

if TYPE_CHECKING:
    from openai import AsyncOpenAI

OPENAI_URL = "https://api.openai.com/v1"
NO_KEY = "none"
"""Sent as the key to local servers, which want none."""


@dataclass(frozen=True)
class Access:
    """Where a teacher's servers are, and the key; `repr` does not show it."""

    urls: tuple[str, ...]
    key: str
    secrets: Secrets

    def __repr__(self) -> str:
        return f"Access({', '.join(map(public_url, self.urls))})"

    @classmethod
    def of(cls, config: OpenAIConfig, environment: Mapping[str, str]) -> Access:
        """From the settings and the environment; ConfigError where a key or an address is missing or malformed."""
        urls = config.base_urls or (environment.get("OPENAI_BASE_URL") or OPENAI_URL,)
        urls = tuple(url.strip() for url in urls)
        key = environment.get(config.api_key_env, "").strip()
        if not all(map(is_address, urls)):
            raise ConfigError(
                "OPENAI_BASE_URL is no address; expected one such as http://localhost:8000/v1.",
                hint="Set rationales.openai.base_urls, which goes before the variable.",
            )
        wants_key = any(public_url(url).startswith("https://api.openai.com") for url in urls)
        if not key and (wants_key or config.api_key_env != "OPENAI_API_KEY"):
            raise ConfigError(
                f"The environment variable {config.api_key_env} holds no key for {public_url(urls[0])}.",
                hint=f"Set {config.api_key_env}, or name another server with rationales.openai.base_urls.",
            )
        if not key.isascii() or not key.isprintable():
            raise ConfigError(f"The key in {config.api_key_env} holds characters that no HTTP header can carry.")
        hidden = [secret for url in urls for secret in secrets_in(url)]
        return cls(urls, key or NO_KEY, Secrets.of([key, *hidden]))


def require_openai() -> None:
    """MissingDependencyError where the client is not installed."""
    for name in ("openai", "tenacity"):
        if importlib.util.find_spec(name) is None:
            raise MissingDependencyError(
                f"Asking a teacher over an API needs the package {name}.", hint="pip install 'kpodx[openai]'"
            )


def new_client(url: str, access: Access, timeout_seconds: float, max_retries: int = 0) -> AsyncOpenAI:
    """The official client for one server; without retries of its own where we send again ourselves.

    Raises:
        ConfigError: the environment names a proxy that cannot be used.
    """
    from openai import AsyncOpenAI

    try:
        return AsyncOpenAI(base_url=url, api_key=access.key, max_retries=max_retries, timeout=timeout_seconds)
    except (ValueError, ImportError) as error:
        raise ConfigError(
            f"No client can be made for {public_url(url)}: {access.secrets.hide(str(error))}",
            hint="Check HTTP_PROXY, HTTPS_PROXY and ALL_PROXY; a socks proxy needs the package socksio.",
        ) from None
