"""A teacher that runs here from a GGUF file, through llama-cpp-python."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_path
from kpodx.errors import MissingDependencyError, ModelError
from kpodx.rationales.chat_templates import check_variables
from kpodx.rationales.config import GgufConfig
from kpodx.rationales.gguf_chat import Chat, TokenPieces
from kpodx.rationales.prompting import join_messages
from kpodx.rationales.requests import Completion, Failure, Request, Usage, judge_text
from kpodx.rationales.teachers import Outlet, timestamp
from kpodx.runtime import Progress, derive_seed

_MAGIC = b"GGUF"
_KWARGS = "chat_template_kwargs"


class GgufTeacher:
    """A decoder-only model in a GGUF file, with the chat template in the file, or plain text where it holds none.

    Args:
        config: the settings.

    Raises:
        MissingDependencyError: the `gguf` extra is not installed.
        ModelError: the file is missing, no GGUF, or an encoder-decoder's.
    """

    def __init__(self, config: GgufConfig) -> None:
        try:
            import llama_cpp  # noqa: F401
        except ImportError as error:
            raise MissingDependencyError(
                "A GGUF teacher needs the package llama-cpp-python.", hint="pip install 'kpodx[gguf]'"
            ) from error
        self._config, self._path = config, Path(config.file)
        check_file(self._path)
        self.label = self._path.stem
        self.model = f"{self._path.name}@{hash_path(self._path)[:16]}"

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Load the file, and write one completion after the other; those with a common beginning come together."""
        variables, name = self._config.chat_template_kwargs, self._path.name
        model = self._load()
        try:
            model.detokenize = TokenPieces(model)
            template = model.metadata.get("tokenizer.chat_template", "")
            check_variables(template, variables, name, f"rationales.gguf.{_KWARGS}")
            chat = Chat(model, template, variables, name) if template else None
            for request in progress.track(requests, total=len(requests), description=description):
                outlet.deliver(answer(model, request, name, chat))
        finally:
            model.close()

    def _load(self) -> Any:
        import jinja2
        import llama_cpp

        config = self._config
        try:
            return llama_cpp.Llama(
                str(self._path),
                n_ctx=config.context_tokens,
                n_threads=config.num_threads,
                n_gpu_layers=config.gpu_layers,
                verbose=False,
            )
        except jinja2.TemplateError as error:
            raise ModelError(
                f"The chat template in {self._path.name} cannot be read: {error}",
                hint="Take a file with a sound template, or ask the model through llama-server and teacher 'openai'.",
            ) from error


def check_file(path: Path) -> None:
    """ModelError where llama-cpp-python would abort the process or could not use the file as a teacher."""
    import llama_cpp

    try:
        with path.open("rb") as stream:
            magic = stream.read(len(_MAGIC))
    except OSError as error:
        raise ModelError(f"{path} cannot be read: {error.strerror}.", hint="Check rationales.gguf.file.") from error
    if magic != _MAGIC:
        raise ModelError(f"{path} is no GGUF file: it begins with {magic!r}, expected {_MAGIC!r}.")
    parameters = llama_cpp.llama_model_default_params()
    parameters.vocab_only = True
    _be_quiet()
    model = llama_cpp.llama_model_load_from_file(str(path).encode(), parameters)
    if not model:
        raise ModelError(
            f"llama.cpp cannot load {path}.",
            hint="It may be cut off, or of an architecture newer than llama-cpp-python.",
        )
    try:
        has_encoder = llama_cpp.llama_model_has_encoder(model)
    finally:
        llama_cpp.llama_model_free(model)
    if has_encoder:
        raise ModelError(
            f"{path} is an encoder-decoder (such as T5), which llama-cpp-python's completion calls cannot run.",
            hint="Take a decoder-only model, or the same one through teacher 'transformers'.",
        )


@functools.cache
def _be_quiet() -> Any:
    """Keep llama.cpp's own lines off the terminal; what is returned must live as long as the library."""
    import llama_cpp

    drop = llama_cpp.llama_log_callback(lambda _level, _text, _data: None)
    llama_cpp.llama_log_set(drop, ctypes.c_void_p(0))
    return drop


def answer(model: Any, request: Request, name: str, chat: Chat | None) -> Completion | Failure:
    """One completion."""
    parameters = {key: value for key, value in request.parameters.items() if key != _KWARGS}
    # Without a seed of its own each sample still draws another text, and the same one each time.
    seed = parameters.pop("seed", derive_seed(request.key))
    begun = time.monotonic()
    try:
        if chat:
            conversation = [{"role": message.role, "content": message.content} for message in request.messages]
            document = model.create_chat_completion(messages=conversation, seed=seed, **parameters)
        else:
            document = model.create_completion(join_messages(request), seed=seed, **parameters)
    except ValueError as error:
        if "context window" in str(error):
            return Failure(request, "prompt_too_long")
        raise ModelError(f"{name}: {error}") from error
    choice, usage = document["choices"][0], document["usage"]
    text = (choice["message"]["content"] if "message" in choice else choice["text"]) or ""
    tokens = Usage(usage["prompt_tokens"], usage["completion_tokens"])
    reason = judge_text(text, choice["finish_reason"], None)
    # With the mark that stood in the prompt, a thought without an end is seen to be one.
    whole = (chat.opening if chat else "") + text
    if reason:
        return Failure(request, reason, whole, tokens)
    return Completion(request, whole, tokens, timestamp(), name, round(time.monotonic() - begun, 3))
