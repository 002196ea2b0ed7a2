"""Chat templates of local teachers: variables, system messages, errors, and marks of thoughts that stay in the text."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import jinja2
import pytest
import torch
from transformers import AutoTokenizer

from kpodx.errors import ModelError
from kpodx.rationales.chat_templates import check_variables, merge_system, render_chat
from kpodx.rationales.config import GgufConfig, TransformersConfig
from kpodx.rationales.requests import Completion, Failure, Message, Request
from kpodx.rationales.teachers import Outlet
from kpodx.rationales.transformers_teacher import TransformersTeacher, build_prompt, silent_tokens
from kpodx.runtime import SilentProgress
from kpodx.text.thoughts import separate_thoughts

TURN = "<{{ m['role'] }}>{{ m['content'] }}"
BEGIN = "{% if add_generation_prompt %}<assistant>{% endif %}"
PLAIN = "{% for m in messages %}" + TURN + "{% endfor %}" + BEGIN
REFUSES = (
    "{% for m in messages %}{% if m['role'] == 'system' %}{{ raise_exception('no system messages') }}{% endif %}"
    + TURN + "{% endfor %}" + BEGIN
)  # fmt: skip
LEAVES_OUT = "{% for m in messages %}{% if m['role'] != 'system' %}" + TURN + "{% endif %}{% endfor %}" + BEGIN
THINKS = PLAIN + (
    "{% if enable_thinking is defined and not enable_thinking %}<think>\n\n</think>\n\n{% else %}<think>\n{% endif %}"
)
BROKEN = "{% for m in messages %}" + TURN
ALWAYS_FAILS = "{{ raise_exception('expected tools') }}"
UNDEFINED = "{{ messages[0].tools.first.name }}"

SYSTEM, USER = Message("system", "Be brief."), Message("user", "How many eggs?")
MERGED = "<user>Be brief.\n\nHow many eggs?<assistant>"


def rendered(template: str, messages: Sequence[Message], **variables: Any) -> str:
    """The prompt by a template, in jinja as it is."""

    def fail(message: str) -> None:
        raise jinja2.TemplateError(message)

    environment = jinja2.Environment()

    def render(conversation: list[dict[str, str]]) -> str:
        parts = {"messages": conversation, "add_generation_prompt": True, "raise_exception": fail, **variables}
        return environment.from_string(template).render(parts)

    return render_chat(messages, render, "tiny")


def test_a_system_message_finds_its_way_into_the_prompt() -> None:
    assert rendered(PLAIN, [SYSTEM, USER]) == "<system>Be brief.<user>How many eggs?<assistant>"
    assert rendered(REFUSES, [SYSTEM, USER]) == MERGED
    assert rendered(LEAVES_OUT, [SYSTEM, USER]) == MERGED
    assert rendered(REFUSES, [USER]) == "<user>How many eggs?<assistant>"


def test_the_second_question_is_merged_too() -> None:
    messages = [SYSTEM, USER, Message("assistant", "9 + 9."), Message("user", "The answer is")]
    assert rendered(REFUSES, messages) == MERGED.removesuffix("<assistant>") + (
        "<assistant>9 + 9.<user>The answer is<assistant>"
    )
    assert merge_system([SYSTEM]) == (SYSTEM,)


@pytest.mark.parametrize("template", [ALWAYS_FAILS, UNDEFINED, BROKEN, "{{ 1 // 0 }}", "{{ messages['a'] + 1 }}"])
def test_other_failures_are_one_line(template: str) -> None:
    for messages in ([USER], [SYSTEM, USER]):
        with pytest.raises(
            ModelError, match=r"The chat template of tiny cannot format a conversation of user: "
        ) as caught:
            rendered(template, messages)
        assert "\n" not in caught.value.message
        assert caught.value.hint


def test_a_variable_that_the_template_does_not_read_is_an_error() -> None:
    check_variables(THINKS, {"enable_thinking": False}, "tiny", "rationales.gguf.chat_template_kwargs")
    check_variables("", {}, "tiny", "x")
    with pytest.raises(ModelError, match="the chat template of tiny does not read 'enable_thinkin'") as caught:
        check_variables(THINKS, {"enable_thinkin": False}, "tiny", "x")
    assert caught.value.hint == "Did you mean 'enable_thinking'?"
    with pytest.raises(ModelError, match="tiny has no chat template, so that x changes nothing"):
        check_variables("", {"enable_thinking": False}, "tiny", "x")


HARMONY = ("<|start|>", "<|channel|>", "<|message|>", "<|end|>", "<|return|>", "<|call|>")
WRITTEN = ("<|channel|>", "so", "<|message|>", " We", " add", "<|end|>", "<|start|>", "this", "<|channel|>", "final",
           "<|message|>", " five", "</s>")  # fmt: skip


def asked(system: bool = False, **parameters: Any) -> Request:
    messages = (SYSTEM, USER) if system else (USER,)
    return Request("m", messages, {"temperature": 0.0, "max_tokens": 40, **parameters})


class ScriptedModel:
    """Writes the same tokens after every prompt, and keeps the prompts."""

    device, config = "cpu", SimpleNamespace(is_encoder_decoder=False)
    generation_config = SimpleNamespace(eos_token_id=None)

    def __init__(self, script: list[int]) -> None:
        self.script = script
        self.prompts: list[list[int]] = []

    def to(self, _device: object) -> ScriptedModel:
        return self

    def eval(self) -> ScriptedModel:
        return self

    def generate(self, input_ids: Any, **_settings: Any) -> Any:
        self.prompts += input_ids.tolist()
        return torch.cat([input_ids, torch.tensor([self.script] * len(input_ids))], dim=1)


@pytest.fixture
def write(tiny_llama: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Asks a scripted transformers teacher with a chat template: (outcome, prompt)."""

    def one(template: str | None, tokens: Sequence[str], request: Request) -> tuple[Completion | Failure, str]:
        tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
        tokenizer.add_special_tokens({"additional_special_tokens": list(HARMONY)})
        tokenizer.chat_template = template
        model = ScriptedModel(tokenizer("".join(tokens), add_special_tokens=False).input_ids)
        monkeypatch.setattr("kpodx.modeling.loading.load_with_tokenizer", lambda *_a, **_k: (model, tokenizer))
        outcomes: list[Completion | Failure] = []
        teacher = TransformersTeacher(TransformersConfig(model=str(tiny_llama)), "cpu", {})
        teacher.ask([request], Outlet(outcomes.append), SilentProgress(), "Asking")
        return outcomes[0], tokenizer.decode(model.prompts[0])

    return one


def test_special_tokens_that_mark_thoughts_stay(write: Any) -> None:
    outcome, _ = write(PLAIN, WRITTEN, asked())
    assert isinstance(outcome, Completion)
    parts = separate_thoughts(outcome.text)
    assert (parts.thought, parts.explanation) == ("We add", "five")


def test_other_special_tokens_go(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.add_special_tokens({"additional_special_tokens": ["<|im_end|>", "[THINK]"]})
    silent = {tokenizer.convert_ids_to_tokens(token) for token in silent_tokens(tokenizer)}
    assert silent == {"<pad>", "</s>", "<s>", "<|im_end|>"}


def test_a_thought_that_the_prompt_opened(write: Any) -> None:
    """The end is missing: without the mark from the prompt the thought would pass for an explanation."""
    outcome, prompt = write(THINKS, [" We", " add", "</s>"], asked())
    assert prompt.endswith("<assistant><think>\n")
    assert separate_thoughts(outcome.text).is_unclosed
    off = asked(chat_template_kwargs={"enable_thinking": False})
    outcome, prompt = write(THINKS, [" We", " add", "</s>"], off)
    assert prompt.endswith("<think>\n\n</think>\n\n")
    assert outcome.text == "We add"


def test_the_system_message_of_a_local_teacher(write: Any) -> None:
    _, prompt = write(REFUSES, [" We", "</s>"], asked(system=True))
    assert prompt == MERGED
    with pytest.raises(ModelError, match=r"cannot format a conversation of user: expected tools"):
        write(ALWAYS_FAILS, [" We", "</s>"], asked(system=True))
    with pytest.raises(ModelError, match="does not read 'enable_thinking'"):
        write(PLAIN, [" We", "</s>"], asked(chat_template_kwargs={"enable_thinking": False}))


def test_several_templates_without_a_default(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    tokenizer.chat_template = {"tool_use": PLAIN, "rag": PLAIN}
    with pytest.raises(ModelError, match="tiny has no default chat template"):
        build_prompt(tokenizer, asked(), "tiny")


@pytest.fixture
def gguf(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Any]:
    """Asks a scripted GGUF teacher with a chat template: (outcome, prompt)."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from tiny_gguf import make_tiny_gguf

    from kpodx.rationales.gguf_teacher import GgufTeacher

    def one(
        template: str | None, tokens: Sequence[str], request: Request, **settings: Any
    ) -> tuple[Completion | Failure, str]:
        path = make_tiny_gguf(tmp_path / "tiny.gguf", chat_template=template, special=HARMONY)
        prompts: list[str] = []

        def generate(self: Any, prompt: list[int], **_settings: Any) -> Iterator[int]:
            prompts.append(self._model.detokenize(prompt, special=True).decode())
            self.reset()
            self.eval(prompt)
            yield from self.tokenize("".join(tokens).encode(), add_bos=False, special=True)

        monkeypatch.setattr(llama_cpp.Llama, "generate", generate)
        outcomes: list[Completion | Failure] = []
        teacher = GgufTeacher(GgufConfig(file=str(path), num_threads=1, **settings))
        teacher.ask([request], Outlet(outcomes.append), SilentProgress(), "Asking")
        return outcomes[0], prompts[0]

    yield one
    sys.stdout.flush()


def test_special_tokens_that_mark_thoughts_stay_in_a_gguf_teachers_text(gguf: Any) -> None:
    outcome, _ = gguf(PLAIN, WRITTEN, asked())
    assert isinstance(outcome, Completion)
    assert "</s>" not in outcome.text
    parts = separate_thoughts(outcome.text)
    assert (parts.thought, parts.explanation) == ("We add", "five")


def test_a_gguf_teacher_can_be_told_not_to_think(gguf: Any) -> None:
    outcome, prompt = gguf(THINKS, [" We add", "</s>"], asked())
    assert prompt.endswith("<assistant><think>\n")
    assert separate_thoughts(outcome.text).is_unclosed
    off = {"enable_thinking": False}
    outcome, prompt = gguf(THINKS, [" We add", "</s>"], asked(chat_template_kwargs=off), chat_template_kwargs=off)
    assert prompt.endswith("<think>\n\n</think>\n\n")
    assert outcome.text.strip() == "We add"
    with pytest.raises(ModelError, match="does not read 'enable_thinking'"):
        gguf(PLAIN, [" We", "</s>"], asked(chat_template_kwargs=off), chat_template_kwargs=off)
    with pytest.raises(ModelError, match="has no chat template"):
        gguf(None, [" We", "</s>"], asked(chat_template_kwargs=off), chat_template_kwargs=off)


def test_the_system_message_of_a_gguf_teacher(gguf: Any) -> None:
    _, prompt = gguf(REFUSES, [" We", "</s>"], asked(system=True))
    assert prompt == MERGED
    with pytest.raises(ModelError, match="expected tools"):
        gguf(ALWAYS_FAILS, [" We", "</s>"], asked())
    with pytest.raises(ModelError, match=r"The chat template in tiny\.gguf cannot be read"):
        gguf(BROKEN, [" We", "</s>"], asked())


def test_llama_cpps_own_formats_do_not_lose_the_system_message(gguf: Any) -> None:
    from llama_cpp.llama_chat_format import MISTRAL_INSTRUCT_CHAT_TEMPLATE

    _, prompt = gguf(MISTRAL_INSTRUCT_CHAT_TEMPLATE, [" We", "</s>"], asked(system=True))
    assert prompt == "<s>[INST] Be brief.\n\nHow many eggs? [/INST]"


def test_stops_and_a_model_without_a_template(gguf: Any) -> None:
    outcome, prompt = gguf(None, [" We add", " five", "</s>"], asked(stop=[" five"]))
    assert "How many eggs?" in prompt
    assert outcome.text.strip() == "We add"


def test_ordinary_tokens_read_as_llama_cpp_reads_them(tmp_path: Path) -> None:
    pytest.importorskip("gguf", reason="gguf is not installed")
    llama_cpp = pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")
    from tiny_gguf import make_tiny_gguf

    from kpodx.rationales.gguf_chat import TokenPieces

    path = make_tiny_gguf(tmp_path / "tiny.gguf", special=("<|im_end|>", "[THINK]"))
    model = llama_cpp.Llama(str(path), n_ctx=64, verbose=False)
    try:
        text = "Tom has 3 eggs — é, 数, 😀.<|im_end|> Then"
        tokens = model.tokenize(text.encode(), add_bos=True, special=True)
        pieces = TokenPieces(model)
        assert pieces(tokens) == model.detokenize(tokens) == text.replace("<|im_end|>", "").encode()
        assert [pieces(tokens[:stop]) for stop in range(len(tokens))] == [
            model.detokenize(tokens[:stop]) for stop in range(len(tokens))
        ]
        marked = model.tokenize(b"[THINK]Tom", add_bos=False, special=True)
        assert (pieces(marked), model.detokenize(marked)) == (b"[THINK]Tom", b"Tom")
    finally:
        model.close()
