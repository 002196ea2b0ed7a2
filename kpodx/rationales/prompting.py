"""What a teacher is asked: versioned templates, and the second question for the answer alone (Kojima et al. 2022, section 3).

A template's wording never changes within a version; a new wording is a new version. The hash of everything that goes into a
prompt is kept with every rationale.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json
from kpodx.errors import DataError
from kpodx.rationales.config import PromptConfig, SamplingConfig
from kpodx.rationales.recorded import read_records
from kpodx.rationales.requests import Message, Request
from kpodx.schema import AnswerKind, Question
from kpodx.text.completions import clean_completion, find_answer_markers
from kpodx.text.prompts import answer_sentence, format_choices
from kpodx.text.reasoning import split_completion

ANSWER_CUES = {
    AnswerKind.NUMBER: "Therefore, the answer (arabic numerals) is",
    AnswerKind.CHOICE: "Therefore, among the answer choices, the answer is",
    AnswerKind.YES_NO: "Therefore, the answer (Yes or No) is",
    AnswerKind.TEXT: "Therefore, the answer is",
}
"""What the second question ends with, by kind of answer; Kojima et al. 2022, appendix A.5."""


ANSWER_TEMPLATE = " answer"
"""Added to a template's name for the second question."""


@dataclass(frozen=True)
class Example:
    """A solved question that few-shot-cot shows first."""

    question: str
    rationale: str
    answer: str


def load_examples(path: Path) -> tuple[Example, ...]:
    """The examples of a JSONL file; DataError where there is none, or a line lacks question, rationale or answer."""
    examples = []
    for number, record in read_records(path, "rationales.prompt.examples"):
        texts = [record.get(name) for name in ("question", "rationale", "answer")]
        if not all(isinstance(text, str) and text.strip() for text in texts):
            raise DataError(
                f"{path}, line {number}: expected the texts question, rationale and answer.",
                hint='Write {"question": "…", "rationale": "…", "answer": "…"} in each line.',
            )
        examples.append(Example(*map(str, texts)))
    if not examples:
        raise DataError(f"{path} holds no examples.", hint="Check rationales.prompt.examples.")
    return tuple(examples)


@dataclass(frozen=True)
class Template:
    """A prompt that waits for a question."""

    config: PromptConfig
    examples: tuple[Example, ...] = ()

    @property
    def name(self) -> str:
        """Name and version, such as "zero-shot-cot/1"."""
        return f"{self.config.template}/{self.config.version}"

    def digest(self) -> str:
        """sha256 of everything that goes into a prompt."""
        settings = self.config.model_dump(mode="json", exclude={"examples"})
        examples = [[e.question, e.rationale, e.answer] for e in self.examples]
        return hash_json([settings, examples, {str(kind): cue for kind, cue in ANSWER_CUES.items()}])

    def messages(self, question: Question) -> tuple[Message, ...]:
        """The conversation that asks for a rationale."""
        asked = question.question + (f" {format_choices(question.choices)}" if question.choices else "")
        if self.config.template == "zero-shot-cot":
            content = f"Q: {asked}\nA: {self.config.cue}"
        elif self.config.template == "few-shot-cot":
            shown = [f"Q: {e.question}\nA: {e.rationale} {answer_sentence(e.answer)}" for e in self.examples]
            content = "\n\n".join([*shown, f"Q: {asked}\nA:"])
        else:
            content = f"{asked}\n\n{self.config.instruction}"
        system = (Message("system", self.config.system),) if self.config.system else ()
        return (*system, Message("user", content))


def build_parameters(
    sampling: SamplingConfig, extra: Mapping[str, Any], *, sample: int, max_tokens: int
) -> dict[str, Any]:
    """What decides a text beside the conversation; what is not set is left to the teacher."""
    optional = {
        "top_p": sampling.top_p,
        "stop": list(sampling.stop) or None,
        "seed": None if sampling.seed is None else sampling.seed + sample,
    }
    given = {name: value for name, value in optional.items() if value is not None}
    return {"temperature": sampling.temperature, "max_tokens": max_tokens, **given, **extra}


def rationale_requests(
    questions: Sequence[Question], template: Template, sampling: SamplingConfig, model: str, extra: Mapping[str, Any]
) -> list[Request]:
    """`sampling.num_samples` requests for each question, the samples of a question in a row."""
    parameters = [
        build_parameters(sampling, extra, sample=sample, max_tokens=sampling.max_tokens)
        for sample in range(sampling.num_samples)
    ]
    return [
        Request(model, messages, parameters[sample], sample, template.name, question.id, question.question)
        for question in questions
        for messages in [template.messages(question)]
        for sample in range(sampling.num_samples)
    ]


def needs_answer(text: str, extraction: str) -> bool:
    """Whether the answer is asked for alone, after the completion `text`.

    >>> needs_answer("2 + 3 = 5. So the answer is 5.", "when-missing"), needs_answer("2 + 3 = 5.", "when-missing")
    (False, True)
    """
    if extraction == "when-missing":
        return not find_answer_markers(clean_completion(text))
    return extraction == "always"


def answer_request(
    first: Request, text: str, kind: AnswerKind, sampling: SamplingConfig, extra: Mapping[str, Any]
) -> Request:
    """The second question: the first with its rationale, and the beginning of the answer's sentence."""
    reasoning = clean_completion(text)
    conversation = (*first.messages, Message("assistant", reasoning), Message("user", ANSWER_CUES[kind]))
    # The sample that is asked decides nothing: equal rationales share their answer.
    parameters = {
        **build_parameters(sampling, extra, sample=0, max_tokens=sampling.answer_max_tokens),
        "temperature": sampling.answer_temperature,
    }
    return Request(
        first.model, conversation, parameters, 0, first.template + ANSWER_TEMPLATE, first.question_id, first.question
    )


def with_answer(text: str, answer: str) -> str:
    """A rationale and the separately extracted answer as one completion, without the rationale's own answer sentence.

    >>> with_answer("2 + 3 = 5. The answer is 6.", " 5.")
    '2 + 3 = 5.\\nTherefore, the answer is 5.'
    """
    reasoning, _ = split_completion(clean_completion(text))
    return f"{reasoning}\nTherefore, the answer is {answer.strip()}"


def join_messages(request: Request) -> str:
    """A conversation as one text, for models that know no roles."""
    return "\n".join(message.content for message in request.messages)
