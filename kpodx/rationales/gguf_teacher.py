"""A teacher that runs here from a GGUF file, through llama-cpp-python."""

from __future__ import annotations

import ctypes
import functools
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_path
from kpodx.errors import MissingDependencyError, ModelError
from kpodx.rationales.chat_templates import check_variables, render_chat
from kpodx.rationales.config import GgufConfig
from kpodx.rationales.prompting import join_messages
from kpodx.rationales.requests import Completion, Failure, Message, Request, Usage, judge_text
from kpodx.rationales.teachers import Outlet, timestamp
from kpodx.runtime import Progress, derive_seed
from kpodx.text.thought_marks import marks_among
from kpodx.text.thoughts import opened_thought

_MAGIC = b"GGUF"
_KWARGS = "chat_template_kwargs"
_USUAL_PIECE = 256
"""More bytes than a token has, but for rare ones."""


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
        import llama_cpp

        config = self._config
        model = llama_cpp.Llama(
            str(self._path),
            n_ctx=config.context_tokens,
            n_threads=config.num_threads,
            n_gpu_layers=config.gpu_layers,
            verbose=False,
        )
        try:
            model.detokenize = TokenPieces(model)
            template = model.metadata.get("tokenizer.chat_template", "")
            name = self._path.name
            check_variables(template, config.chat_template_kwargs, name, f"rationales.gguf.{_KWARGS}")
            chat = Chat(model, template, config.chat_template_kwargs, name) if template else None
            for request in progress.track(requests, total=len(requests), description=description):
                outlet.deliver(answer(model, request, name, chat))
        finally:
            model.close()


class TokenPieces:
    """Turns tokens into text, in place of llama-cpp-python's `detokenize`.

    Special tokens that mark thoughts stay in the text: gpt-oss, Magistral and Command A use some, and llama-cpp-python drops
    them. It also asks for the whole text after each token; looking pieces up keeps that fast for long thoughts.
    """

    def __init__(self, model: Any) -> None:
        import llama_cpp

        self._vocab = llama_cpp.llama_model_get_vocab(model.model)
        tokens = range(llama_cpp.llama_vocab_n_tokens(self._vocab))
        controls = [token for token in tokens if llama_cpp.llama_vocab_is_control(self._vocab, token)]
        special = {token: token_text(self._vocab, token) for token in controls}
        marks = marks_among(special.values())
        self._shown = frozenset(token for token, text in special.items() if text in marks)
        self._known: dict[int, bytes] = {}

    def __call__(self, tokens: Sequence[int], prev_tokens: Sequence[int] | None = None, special: bool = False) -> bytes:
        """Return the text of tokens as UTF-8, which may be cut inside a character."""
        del prev_tokens, special
        known = self._known
        try:
            return b"".join([known[token] for token in tokens])
        except KeyError:
            known |= {token: self._piece(token) for token in set(tokens).difference(known)}
        return b"".join([known[token] for token in tokens])

    def _piece(self, token: int) -> bytes:
        import llama_cpp

        def write(size: int) -> tuple[int, bytes]:
            buffer = ctypes.create_string_buffer(size)
            count = llama_cpp.llama_token_to_piece(self._vocab, token, buffer, size, 0, token in self._shown)
            return count, buffer.raw[: max(count, 0)]

        length, piece = write(_USUAL_PIECE)
        # A negative length says how much room is needed.
        return piece if length >= 0 else write(-length)[1]


def token_text(vocabulary: Any, token: int) -> str:
    """Return a token as the file spells it; "" if there is no such token."""
    import llama_cpp

    return bytes(llama_cpp.llama_vocab_get_text(vocabulary, token)).decode("utf-8", "replace") if token >= 0 else ""


class Chat:
    """Formats conversations for llama-cpp-python with the template in the file, as transformers would.

    llama-cpp-python's own formatter passes no variables on, raises whatever a template raises, and replaces some templates by
    code of its own that leaves out the system message.

    Args:
        model: the loaded model.
        template: the source of its template.
        variables: further variables of the template.
        name: what the model is called in errors.
    """

    def __init__(self, model: Any, template: str, variables: Mapping[str, Any], name: str) -> None:
        import jinja2
        import llama_cpp
        from llama_cpp import llama_chat_format

        # Its types ask for message classes of its own.
        library: Any = llama_chat_format
        vocabulary = llama_cpp.llama_model_get_vocab(model.model)
        eos = model.token_eos()
        marks = {"eos_token": token_text(vocabulary, eos), "bos_token": token_text(vocabulary, model.token_bos())}
        self._variables, self._name = dict(variables), name
        try:
            self._formatter = library.Jinja2ChatFormatter(template, **marks, stop_token_ids=[eos])
        except jinja2.TemplateError as error:
            raise ModelError(f"The chat template in {name} cannot be read: {error}") from error
        self.opening = ""
        model.chat_handler = library.chat_formatter_to_chat_completion_handler(self._format)

    def _format(self, *, messages: Sequence[Mapping[str, str]], **given: Any) -> Any:
        """Format one conversation, and remember which mark of a thought its prompt ends with."""
        formatted: list[Any] = []

        def render(conversation: list[dict[str, str]]) -> str:
            formatted.append(self._formatter(messages=conversation, **{**given, **self._variables}))
            return str(formatted[-1].prompt)

        conversation = [Message(message["role"], message["content"]) for message in messages]
        self.opening = opened_thought(render_chat(conversation, render, self._name))
        # What was formatted last is what `render_chat` chose.
        return formatted[-1]


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
