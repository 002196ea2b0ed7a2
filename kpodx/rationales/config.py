"""Settings of the rationales: who the teacher is, how it is asked, what that may cost, and which of its texts are kept."""

from __future__ import annotations

import json
import re
from typing import Annotated, Any, ClassVar, Literal, Self
from urllib.parse import urlsplit

from pydantic import AfterValidator, BeforeValidator, Field, field_validator, model_validator

from kpodx.config import UNSHOWN, Config, FilePath

TeacherKind = Literal["recorded", "gold", "embedded", "openai", "transformers", "gguf"]
FilterKind = Literal["none", "correct", "agreement"]
AcceptKind = Literal["announced", "any"]
TemplateName = Literal["zero-shot-cot", "few-shot-cot", "instruction"]
ThoughtChoice = Literal["drop", "keep", "only"]

ASKED = ("openai", "transformers", "gguf")
"""Teachers that are asked; the others' texts lie there already."""


_RESERVED = frozenset(
    {
        "n", "best_of", "max_tokens", "max_completion_tokens", "model", "messages", "prompt", "stream", "temperature", "top_p",
        "stop", "seed", "logprobs", "tools",
    }
)  # fmt: skip
"""Parameters that `extra` may not set: they would change what a request is, or what it can cost."""

_TEMPLATE_RESERVED = frozenset(
    {
        "messages", "conversation", "chat_template", "add_generation_prompt", "continue_final_message", "tools", "documents",
        "tool_choice", "functions", "function_call", "tokenize", "padding", "truncation", "max_length", "return_tensors",
        "return_dict", "return_assistant_tokens_mask", "tokenizer_kwargs", "bos_token", "eos_token", "raise_exception",
        "strftime_now",
    }
)  # fmt: skip
"""Names in a chat template that kpodx and the libraries fill themselves."""


def is_address(url: str) -> bool:
    """Whether a text is an http address with a host, and a port that is one.

    >>> is_address("http://localhost:8000/v1"), is_address("http://h:port/v1"), is_address("localhost")
    (True, False, False)
    """
    try:
        parts = urlsplit(url)
        _ = parts.port
    except ValueError:
        return False
    return parts.scheme in ("http", "https") and bool(parts.hostname) and url.isprintable() and " " not in url


def _one_or_many(value: object) -> object:
    """A single path or address stands for a list of one."""
    return (value,) if isinstance(value, str) else value


def _check_template_kwargs(value: dict[str, Any]) -> dict[str, Any]:
    """Return variables for a chat template, after a check of their names and values."""
    for name in value:
        if not name.isidentifier():
            raise ValueError(f"{name!r} is not a name that a chat template can read")
        if name in _TEMPLATE_RESERVED:
            raise ValueError(f"{name!r} is not free: kpodx sets it, or the library that formats the chat")
    try:
        json.dumps(value, allow_nan=False)
    except (TypeError, ValueError):
        raise ValueError("expected plain values, got one that JSON does not have, such as a date or nan") from None
    return value


TemplateKwargs = Annotated[dict[str, Any], AfterValidator(_check_template_kwargs)]
"""The type of a table of variables for a chat template."""


class PromptConfig(Config):
    """How a teacher is asked; the prompt's hash is kept with every rationale."""

    template: TemplateName = "zero-shot-cot"
    """Template: zero-shot-cot ("Q: … A: Let's think step by step."), few-shot-cot (examples first) or instruction (the
    question, then what to do)."""
    version: Literal[1] = 1
    """Version of the template; a template's wording never changes within a version."""
    cue: str = "Let's think step by step."
    """What zero-shot-cot lets the answer begin with."""
    instruction: str = (
        'Solve the problem step by step, one short sentence a step. End with: "Therefore, the answer is …".'
    )
    """What the instruction template asks for."""
    system: str | None = None
    """System message; None sends none."""
    examples: FilePath | None = None
    """JSONL file of examples for few-shot-cot: question, rationale and answer in each line."""
    answer_extraction: Literal["always", "when-missing", "never"] = "when-missing"
    """When the teacher is asked a second time for the answer alone: always (Kojima et al. 2022), when-missing (where the first
    text announces none) or never."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if (self.template == "few-shot-cot") != (self.examples is not None):
            raise ValueError("examples is needed by the template 'few-shot-cot', and read by no other")
        return self


class SamplingConfig(Config):
    """How a teacher writes."""

    num_samples: int = Field(default=1, ge=1, le=1000)
    """Completions asked for, per question."""
    temperature: float = Field(default=0.0, ge=0, le=2)
    """Temperature; 0 takes the likeliest token each time."""
    top_p: float | None = Field(default=None, gt=0, le=1)
    """Share of the probability that tokens are drawn from; None leaves it to the teacher."""
    max_tokens: int = Field(default=512, ge=1)
    """Most tokens of a completion; one that reaches it is a failure, since its end is missing."""
    answer_max_tokens: int = Field(default=64, ge=1)
    """Most tokens of the answer where it is asked for alone."""
    answer_temperature: float = Field(default=0.0, ge=0, le=2)
    """Temperature of that; some reasoning models take no other than 1."""
    stop: tuple[str, ...] = ()
    """Texts that end a completion."""
    seed: int | None = Field(default=None, ge=0)
    """Seed of sample 0, the next has the next; sent to a server only where set, since not every server takes one."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.num_samples > 1 and self.temperature == 0:
            raise ValueError(f"num_samples {self.num_samples} with temperature 0 gives the same text each time")
        return self


class OpenAIConfig(Config):
    """A teacher behind an OpenAI-compatible API. Only `model`, `api`, `extra` and the prompt and sampling change a text."""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset(
        {
            "base_urls",
            "api_key_env",
            "concurrency",
            "requests_per_minute",
            "tokens_per_minute",
            "timeout_seconds",
            "max_attempts",
            "max_answer_mib",
            "max_tokens_parameter",
            "batch",
            "batch_poll_seconds",
        }
    )

    model: str = Field(min_length=1)
    """The model's name, as the server knows it."""
    base_urls: Annotated[tuple[str, ...], BeforeValidator(_one_or_many), UNSHOWN] = ()
    """Address of the API, such as "http://localhost:8000/v1", or a list of equal servers; none takes OPENAI_BASE_URL, or OpenAI."""
    api_key_env: Annotated[str, UNSHOWN] = "OPENAI_API_KEY"
    """Name of the environment variable that holds the key; local servers need none."""
    api: Literal["chat", "completions"] = "chat"
    """Which API: chat (chat/completions), or completions for base models that know no chat."""
    extra: Annotated[dict[str, Any], UNSHOWN] = Field(default_factory=dict)
    """Further parameters of each request, as the server wants them, such as reasoning_effort."""
    max_tokens_parameter: Literal["max_tokens", "max_completion_tokens"] = "max_tokens"
    """What the server calls the limit of a completion; OpenAI's reasoning models take max_completion_tokens only."""
    concurrency: int = Field(default=16, ge=1, le=4096)
    """Most requests under way at a time."""
    requests_per_minute: int | None = Field(default=None, ge=1)
    """Most requests sent to each address within any 60 seconds; None sets no limit, the server's own are obeyed in any case."""
    tokens_per_minute: int | None = Field(default=None, ge=1)
    """Most tokens, prompts and completions, of each address within any 60 seconds; None sets no limit."""
    timeout_seconds: float = Field(default=120.0, gt=0)
    """How long one answer may take, in seconds."""
    max_attempts: int = Field(default=10, ge=1)
    """How often a request is sent before the teacher counts as unable to answer it; ten attempts last about two minutes."""
    max_answer_mib: float = Field(default=4.0, gt=0)
    """Largest answer of the server that is read, in MiB."""
    batch: bool = False
    """Whether to use the Batch API (/v1/batches): cheaper, and done within a day."""
    batch_poll_seconds: float = Field(default=30.0, gt=0)
    """Seconds between two looks at a batch."""

    @field_validator("api_key_env")
    @classmethod
    def _is_a_name(cls, value: str) -> str:
        if not value.isidentifier() or not value.isascii():
            # The value may be the key itself: it must not be repeated.
            raise ValueError("expected the name of an environment variable, such as OPENAI_API_KEY, never a key")
        return value

    @field_validator("extra")
    @classmethod
    def _holds_no_key(cls, value: dict[str, Any]) -> dict[str, Any]:
        secret = [
            name for name in value if re.search(r"api.?key|authorization|password|secret|headers", name, re.IGNORECASE)
        ]
        if secret:
            raise ValueError(f"{secret[0]!r} looks like a secret; keys belong into api_key_env's variable")
        reserved = sorted(set(value) & _RESERVED)
        if reserved:
            raise ValueError(
                f"{reserved[0]!r} has no place here: it is kpodx's own, see rationales.sampling and prompt"
            )
        try:
            json.dumps(value, allow_nan=False)
        except (TypeError, ValueError):
            raise ValueError("a value that JSON does not have, such as a date or nan") from None
        return value

    @field_validator("base_urls")
    @classmethod
    def _are_addresses(cls, value: tuple[str, ...]) -> tuple[str, ...]:
        for url in value:
            if not is_address(url):
                raise ValueError("expected addresses such as http://localhost:8000/v1")
            rest = url.partition("://")[2]
            if "@" in rest.partition("/")[0] or "?" in rest:
                raise ValueError("an address with a password or a query in it; keys belong into api_key_env's variable")
        return value


class TransformersConfig(Config):
    """A teacher that runs here, through transformers."""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset({"batch_size"})

    model: str = Field(min_length=1)
    """Hub id or local folder."""
    revision: str | None = None
    """Branch, tag or commit on the hub; None takes the main branch."""
    dtype: Literal["auto", "float32", "bfloat16"] = "auto"
    """Number format; auto is bfloat16 on a GPU that has it and float32 elsewhere."""
    batch_size: int = Field(default=16, ge=1)
    """Completions written at a time."""
    chat_template_kwargs: TemplateKwargs = Field(default_factory=dict)
    """Variables for the model's chat template, such as enable_thinking=false."""

    @property
    def unread(self) -> frozenset[str]:
        """Fields that count for nothing: an empty table changes no prompt."""
        return frozenset() if self.chat_template_kwargs else frozenset({"chat_template_kwargs"})


class GgufConfig(Config):
    """A teacher that runs here, from a GGUF file, through llama-cpp-python."""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset({"gpu_layers", "num_threads"})

    file: FilePath
    """The GGUF file of a decoder-only model."""
    context_tokens: int = Field(default=4096, ge=16)
    """Context, in tokens: prompt and completion together."""
    gpu_layers: int = Field(default=0, ge=-1)
    """Layers computed on a GPU, where llama-cpp-python was built for one; -1 takes all."""
    num_threads: int | None = Field(default=None, ge=1)
    """CPU threads; None takes half of the machine's."""
    chat_template_kwargs: TemplateKwargs = Field(default_factory=dict)
    """Variables for the chat template in the file, such as enable_thinking=false."""

    @property
    def unread(self) -> frozenset[str]:
        """Fields that count for nothing: an empty table changes no prompt."""
        return frozenset() if self.chat_template_kwargs else frozenset({"chat_template_kwargs"})


class CostConfig(Config):
    """What asking a teacher over an API may cost. Nothing here changes a text."""

    input_usd_per_million: float = Field(default=0.0, ge=0)
    """US dollars for a million tokens of prompts."""
    output_usd_per_million: float = Field(default=0.0, ge=0)
    """US dollars for a million tokens of completions."""
    budget_usd: float | None = Field(default=None, ge=0)
    """Most US dollars that this run may spend on its teacher; None sets no cap."""
    budget_tokens: int | None = Field(default=None, ge=0)
    """Most tokens, prompts and completions, that this run may spend; None sets no cap."""

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.budget_usd is not None and not (self.input_usd_per_million or self.output_usd_per_million):
            raise ValueError("budget_usd needs input_usd_per_million and output_usd_per_million")
        return self


class RationalesConfig(Config):
    """Where the rationales of the training questions come from, and which are kept."""

    outside_fingerprint: ClassVar[frozenset[str]] = frozenset({"cost", "cache"})

    teacher: TeacherKind = "gold"
    """Who writes them: recorded (completions in JSONL files), gold (those that came with the questions), embedded (the
    generated ones of the embedded set, some of them wrong on purpose), openai (a model behind an OpenAI-compatible API),
    transformers or gguf (a model that runs here)."""
    files: Annotated[tuple[FilePath, ...], BeforeValidator(_one_or_many)] = ()
    """JSONL files of recorded completions, one path or a list, read in this order; only with teacher recorded."""
    id_key: str = "id"
    """Key of a record's question id; records without it are matched by the text of the question."""
    question_key: str = "question"
    """Key of a record's question text."""
    completion_key: str = "completion"
    """Key of a record's completion: a text, or a list of texts."""
    teacher_name: str | None = None
    """Name kept with each rationale, such as a model's; None takes the model's own, or the value of teacher."""
    licence: str = ""
    """Note on what the teacher's terms allow, kept with each rationale."""
    filter: FilterKind = "correct"
    """Which are kept: correct (those whose own answer is the reference), agreement (those whose answer is the one that most
    samples of the question give; no reference is used) or none (all, as the paper literally has it)."""
    accept: AcceptKind = "any"
    """Which answers count: any that can be read, or announced (only those behind an announcement such as "the answer is", none that
    is taken from the last sentence)."""
    min_agreement: float = Field(default=0.5, gt=0, le=1)
    """Least share of a question's samples that must give the commonest answer, with filter agreement."""
    max_per_question: int | None = Field(default=None, ge=1)
    """Most rationales kept of one question; 1 keeps one, None keeps all."""
    choose: Literal["first", "diverse"] = "first"
    """Which are kept where there are more than max_per_question: the first, or those whose words differ most."""
    thoughts: ThoughtChoice = "drop"
    """What becomes of a reasoning model's thought: drop (the explanation after it is the rationale), only (the thought is the
    rationale) or keep (both, in order); the answer is read from the explanation, if there is one."""
    min_characters: int = Field(default=1, ge=1)
    """Shortest reasoning kept, in characters."""
    max_characters: int | None = Field(default=None, ge=1)
    """Longest reasoning kept, in characters; None sets no limit."""
    max_steps: int | None = Field(default=None, ge=1)
    """Longest reasoning kept, in steps; None sets no limit."""
    max_tokens: int | None = Field(default=None, ge=1)
    """Longest reasoning kept, in tokens of the student; None sets no limit, and reads no tokenizer."""
    digits: Literal["any", "ascii"] = "any"
    """Which digits a rationale may hold: any, or ascii (0 to 9, no other script's)."""
    cache: FilePath | None = None
    """File in which every answer of a teacher is kept, for all runs; None takes kpodx/teachers.sqlite in the user's cache folder."""
    ask_failures_again: bool = False
    """Whether to ask again for what earlier phases got no usable text for (cut, filtered, refused or empty answers)."""
    prompt: PromptConfig = PromptConfig()
    """How a teacher is asked."""
    sampling: SamplingConfig = SamplingConfig()
    """How it writes."""
    cost: CostConfig = CostConfig()
    """What that may cost."""
    openai: OpenAIConfig | None = None
    """The teacher behind an API; only with teacher openai."""
    transformers: TransformersConfig | None = None
    """The teacher in transformers; only with teacher transformers."""
    gguf: GgufConfig | None = None
    """The teacher in a GGUF file; only with teacher gguf."""

    @property
    def unread(self) -> frozenset[str]:
        """Tables that this teacher does not read: they may stay in a recipe and count for nothing."""
        tables = {name for name in ASKED if name != self.teacher}
        return frozenset(tables if self.teacher in ASKED else tables | {"prompt", "sampling"})

    @property
    def also_uses(self) -> tuple[str, ...]:
        """Tables of the recipe that decide the result too: the student's tokenizer counts the tokens of a limit."""
        return () if self.max_tokens is None else ("student",)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.teacher == "recorded" and not self.files:
            raise ValueError("teacher 'recorded' needs rationales.files, the JSONL files of completions")
        if self.teacher != "recorded" and self.files:
            raise ValueError(f"rationales.files is only read by teacher 'recorded', not by {self.teacher!r}")
        if self.teacher in ASKED and getattr(self, self.teacher) is None:
            setting = "file" if self.teacher == "gguf" else "model"
            raise ValueError(f"teacher {self.teacher!r} needs rationales.{self.teacher}.{setting}")
        if self.max_characters is not None and self.max_characters < self.min_characters:
            raise ValueError(f"max_characters {self.max_characters} is below min_characters {self.min_characters}")
        if self.filter == "agreement" and self.teacher in ASKED and self.sampling.num_samples < 2:
            raise ValueError("filter 'agreement' compares samples: set rationales.sampling.num_samples to 2 or more")
        return self
