"""What a GGUF teacher is shown and what it wrote: chats through the template in the file, and tokens as text."""

from __future__ import annotations

import ctypes
from collections.abc import Mapping, Sequence
from typing import Any

from kpodx.rationales.chat_templates import render_chat
from kpodx.rationales.requests import Message
from kpodx.text.thought_marks import marks_among
from kpodx.text.thoughts import opened_thought

_USUAL_PIECE = 256
"""More bytes than a token has, but for rare ones."""


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
    """Return a token as the file spells it; "" if the id is negative."""
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
        import llama_cpp
        from llama_cpp import llama_chat_format

        # Its types ask for message classes of its own.
        library: Any = llama_chat_format
        vocabulary = llama_cpp.llama_model_get_vocab(model.model)
        eos = model.token_eos()
        marks = {"eos_token": token_text(vocabulary, eos), "bos_token": token_text(vocabulary, model.token_bos())}
        self._variables, self._name = dict(variables), name
        self._formatter = library.Jinja2ChatFormatter(template, **marks, stop_token_ids=[eos])
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
