"""Teachers that run here: tiny models made on the spot, with and without a chat template."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
from transformers import AutoTokenizer

from kpodx.config import build_config
from kpodx.errors import ConfigError, ModelError
from kpodx.rationales.config import GgufConfig, RationalesConfig, TransformersConfig
from kpodx.rationales.requests import Completion, Failure, Message, Request
from kpodx.rationales.teachers import Outlet
from kpodx.rationales.transformers_teacher import TransformersTeacher, build_prompt
from kpodx.runtime import SilentProgress

TEMPLATE = "{% for m in messages %}<{{ m['role'] }}>{{ m['content'] }}{% endfor %}{% if add_generation_prompt %}<assistant>{% endif %}"


def request(number: int, **parameters: Any) -> Request:
    given = {"temperature": 0.0, "max_tokens": 6, **parameters}
    return Request("m", (Message("user", f"What is {number} plus {number}? " * (number + 1)),), given)


def ask(model: Path, requests: list[Request], **settings: Any) -> dict[str, Completion | Failure]:
    teacher = TransformersTeacher(TransformersConfig(model=str(model), **settings), "cpu", {})
    outcomes: list[Completion | Failure] = []
    teacher.ask(requests, Outlet(outcomes.append), SilentProgress(), "Asking")
    return {outcome.request.key: outcome for outcome in outcomes}


@pytest.mark.parametrize("name", ["tiny_t5", "tiny_llama"])
def test_each_request_ends_once_and_batches_change_nothing(name: str, request_: pytest.FixtureRequest) -> None:
    model = request_.getfixturevalue(name)
    requests = [request(number) for number in range(5)]
    one, four = ask(model, requests, batch_size=1), ask(model, requests, batch_size=4)
    assert set(one) == {r.key for r in requests}
    assert {k: (type(o), o.text) for k, o in one.items()} == {k: (type(o), o.text) for k, o in four.items()}


@pytest.fixture
def request_(request: pytest.FixtureRequest) -> pytest.FixtureRequest:
    """pytest's own `request`, whose name is taken."""
    return request


def test_a_text_without_an_end_is_a_failure(tiny_llama: Path) -> None:
    """A random model hardly ever ends."""
    (outcome,) = ask(tiny_llama, [request(1, max_tokens=2)]).values()
    assert isinstance(outcome, Failure)
    assert outcome.reason == "length"
    assert outcome.usage is not None
    assert outcome.usage.completion_tokens == 2


def test_stops_end_a_text(tiny_llama: Path) -> None:
    (free,) = ask(tiny_llama, [request(1, max_tokens=12)]).values()
    stop = free.text.strip()[3:5]
    (stopped,) = ask(tiny_llama, [request(1, max_tokens=12, stop=[stop])]).values()
    assert isinstance(stopped, Completion)
    assert stop not in stopped.text
    assert free.text.startswith(stopped.text)


def test_drawing_is_repeatable_and_samples_differ(tiny_llama: Path) -> None:
    drawn = [
        Request("m", (Message("user", "Go"),), {"temperature": 1.5, "max_tokens": 12}, sample) for sample in range(3)
    ]
    first, again = ask(tiny_llama, drawn), ask(tiny_llama, drawn)
    assert {k: o.text for k, o in first.items()} == {k: o.text for k, o in again.items()}
    assert len({o.text for o in first.values()}) == 3


def test_the_chat_template_is_used_where_there_is_one(tiny_llama: Path) -> None:
    tokenizer = AutoTokenizer.from_pretrained(tiny_llama)
    plain = build_prompt(tokenizer, request(0), "tiny").ids
    assert plain == tokenizer("What is 0 plus 0? ").input_ids
    tokenizer.chat_template = TEMPLATE
    wanted = tokenizer("<user>What is 0 plus 0? <assistant>", add_special_tokens=False).input_ids
    assert build_prompt(tokenizer, request(0), "tiny").ids == wanted


def test_a_prompt_longer_than_the_model_is_its_own_failure(tiny_llama: Path) -> None:
    long = Request("m", (Message("user", "What is 1 plus 1? " * 400),), {"temperature": 0.0, "max_tokens": 6})
    outcomes = ask(tiny_llama, [request(0), long])
    failure = outcomes[long.key]
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"
    assert len(outcomes) == 2


def test_the_model_is_named_with_its_content(tiny_t5: Path) -> None:
    teacher = TransformersTeacher(TransformersConfig(model=str(tiny_t5)), "cpu", {})
    name, _, rest = teacher.model.partition("@")
    assert name == teacher.label == tiny_t5.name
    assert len(rest.split()[0]) == 16
    assert rest.split()[1] == "float32"


def test_each_teacher_needs_its_table() -> None:
    with pytest.raises(ConfigError, match=r"teacher 'gguf' needs rationales\.gguf\.file"):
        build_config(RationalesConfig, {"teacher": "gguf"})
    with pytest.raises(ConfigError, match=r"teacher 'transformers' needs rationales\.transformers\.model"):
        build_config(RationalesConfig, {"teacher": "transformers"})


@pytest.fixture
def llama_cpp() -> Any:
    """llama-cpp-python; the test skips where it is not installed."""
    pytest.importorskip("gguf", reason="gguf is not installed")
    return pytest.importorskip("llama_cpp", reason="llama-cpp-python is not installed")


def ask_gguf(path: Path, requests: list[Request], **settings: Any) -> dict[str, Completion | Failure]:
    from kpodx.rationales.gguf_teacher import GgufTeacher

    outcomes: list[Completion | Failure] = []
    GgufTeacher(GgufConfig(file=str(path), num_threads=1, **settings)).ask(
        requests, Outlet(outcomes.append), SilentProgress(), "Asking"
    )
    return {outcome.request.key: outcome for outcome in outcomes}


def test_a_gguf_teacher_writes_and_repeats_itself(llama_cpp: Any, tmp_path: Path) -> None:
    from tiny_gguf import make_tiny_gguf

    path = make_tiny_gguf(tmp_path / "tiny.gguf")
    drawn = [
        Request("m", (Message("user", "Tom has 3 eggs."),), {"temperature": 1.5, "max_tokens": 8}, n) for n in range(3)
    ]
    first, again = ask_gguf(path, drawn), ask_gguf(path, drawn)
    assert {k: o.text for k, o in first.items()} == {k: o.text for k, o in again.items()}
    assert len({o.text for o in first.values()}) == 3
    greedy = Request("m", drawn[0].messages, {"temperature": 0.0, "max_tokens": 12})
    (free,) = ask_gguf(path, [greedy]).values()
    stop = Request("m", drawn[0].messages, {**greedy.parameters, "stop": [free.text[4:6]]})
    (stopped,) = ask_gguf(path, [stop]).values()
    assert free.text[4:6] not in stopped.text
    assert free.text.startswith(stopped.text)


def test_a_gguf_prompt_that_is_too_long_is_its_own_failure(llama_cpp: Any, tmp_path: Path) -> None:
    from tiny_gguf import make_tiny_gguf

    long = Request("m", (Message("user", "What is 1 plus 1? " * 90),), {"temperature": 0.0, "max_tokens": 6})
    outcomes = ask_gguf(make_tiny_gguf(tmp_path / "tiny.gguf"), [long, request(0)], context_tokens=128)
    failure = outcomes[long.key]
    assert isinstance(failure, Failure)
    assert failure.reason == "prompt_too_long"
    assert len(outcomes) == 2


def test_the_chat_template_in_a_gguf_is_used(llama_cpp: Any, tmp_path: Path) -> None:
    from tiny_gguf import make_tiny_gguf

    plain = ask_gguf(make_tiny_gguf(tmp_path / "a.gguf"), [request(0)])
    chat = ask_gguf(make_tiny_gguf(tmp_path / "b.gguf", chat_template=TEMPLATE), [request(0)])
    (one,), (other,) = plain.values(), chat.values()
    assert one.usage is not None
    assert other.usage is not None
    assert other.usage.prompt_tokens > one.usage.prompt_tokens + 5, "the roles are in the prompt"


def test_what_is_no_teacher_is_refused(llama_cpp: Any, tmp_path: Path) -> None:
    from tiny_gguf import make_t5_head

    from kpodx.rationales.gguf_teacher import GgufTeacher

    path = tmp_path / "x.gguf"
    with pytest.raises(ModelError, match="cannot be read"):
        GgufTeacher(GgufConfig(file=str(path)))
    path.write_bytes(b"PK\x03\x04")
    with pytest.raises(ModelError, match="is no GGUF file"):
        GgufTeacher(GgufConfig(file=str(path)))
    path.write_bytes(b"GGUF" + bytes(20))
    with pytest.raises(ModelError, match="cannot load"):
        GgufTeacher(GgufConfig(file=str(path)))
    with pytest.raises(ModelError, match=r"is an encoder-decoder \(such as T5\)") as caught:
        GgufTeacher(GgufConfig(file=str(make_t5_head(tmp_path / "t5.gguf"))))
    assert "teacher 'transformers'" in (caught.value.hint or "")
