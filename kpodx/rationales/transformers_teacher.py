"""A teacher that runs here, through transformers: in batches, in bfloat16 on a GPU, with its chat template where it has one."""

from __future__ import annotations

import time
from collections.abc import Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from typing import Any

from kpodx.artifacts import hash_json, hash_model
from kpodx.errors import ModelError
from kpodx.rationales.chat_templates import check_variables, render_chat
from kpodx.rationales.config import TransformersConfig
from kpodx.rationales.prompting import join_messages
from kpodx.rationales.requests import Completion, Failure, Request, Usage, judge_text
from kpodx.rationales.teachers import Outlet, timestamp
from kpodx.runtime import Progress, derive_seed, resolve_device, resolve_dtype, seed_everything
from kpodx.text.thought_marks import marks_among
from kpodx.text.thoughts import opened_thought

_KWARGS = "chat_template_kwargs"


@dataclass(frozen=True)
class Prompt:
    """Token ids of a conversation, and the mark at its end that has opened a thought; empty if none has."""

    ids: list[int]
    opening: str = ""


class TransformersTeacher:
    """A decoder-only or encoder-decoder model from the hub or a local folder.

    Args:
        config: the settings.
        device: as in the recipe's `runtime` table.
        revisions: hub commit by model id.
    """

    def __init__(self, config: TransformersConfig, device: str, revisions: Mapping[str, str]) -> None:
        self._config, self._revisions = config, revisions
        self._device = resolve_device(device)
        self._dtype = resolve_dtype(config.dtype, self._device)
        commit = revisions.get(config.model) or hash_model(Path(config.model))
        self.label = Path(config.model).name if Path(config.model).is_dir() else config.model
        # The number format decides the text too.
        self.model = f"{self.label}@{commit[:16]} {str(self._dtype).removeprefix('torch.')}"

    def ask(self, requests: Sequence[Request], outlet: Outlet, progress: Progress, description: str) -> None:
        """Load the model, and write all completions, the longest prompts first so that too little memory shows at once."""
        from kpodx.modeling.loading import load_with_tokenizer

        model, tokenizer = load_with_tokenizer(self._config.model, self._revisions, dtype=self._dtype)
        model.to(self._device).eval()
        prompts = {request.key: build_prompt(tokenizer, request, self.label) for request in requests}
        batches = list(self._batches(requests, prompts))
        silent = silent_tokens(tokenizer)
        for batch in progress.track(batches, total=len(batches), description=description):
            begun = time.monotonic()
            fitting, too_long = _fitting(batch, prompts, model)
            for request in too_long:
                outlet.deliver(Failure(request, "prompt_too_long"))
            if fitting:
                written = write(model, tokenizer, fitting, [prompts[request.key].ids for request in fitting], silent)
                seconds = round((time.monotonic() - begun) / len(fitting), 3)
                for request, (text, finish_reason, usage) in zip(fitting, written, strict=True):
                    reason = judge_text(text, finish_reason, None)
                    # With the mark that stood in the prompt, a thought without an end is seen to be one.
                    whole = prompts[request.key].opening + text
                    if reason:
                        outlet.deliver(Failure(request, reason, whole, usage))
                    else:
                        outlet.deliver(Completion(request, whole, usage, timestamp(), "transformers", seconds))

    def _batches(self, requests: Sequence[Request], prompts: Mapping[str, Prompt]) -> Iterator[list[Request]]:
        """Requests of equal parameters, of similar length."""

        def kind(request: Request) -> str:
            return hash_json({name: value for name, value in request.parameters.items() if name != "seed"})

        ordered = sorted(requests, key=lambda request: (kind(request), -len(prompts[request.key].ids), request.key))
        for _, alike in groupby(ordered, key=kind):
            some = list(alike)
            for start in range(0, len(some), self._config.batch_size):
                yield some[start : start + self._config.batch_size]


def build_prompt(tokenizer: Any, request: Request, name: str) -> Prompt:
    """Return the conversation in tokens: through the chat template if the tokenizer has one, else as plain text.

    Raises:
        ModelError: the template cannot format the conversation, or does not read a variable of the settings.
    """
    variables = request.parameters.get(_KWARGS, {})
    template = _template_of(tokenizer, name)
    check_variables(template, variables, name, f"rationales.transformers.{_KWARGS}")
    if not template:
        return Prompt(list(tokenizer(join_messages(request)).input_ids))

    def render(conversation: list[dict[str, str]]) -> str:
        formatted = tokenizer.apply_chat_template(conversation, add_generation_prompt=True, tokenize=False, **variables)
        return str(formatted)

    text = render_chat(request.messages, render, name)
    return Prompt(list(tokenizer(text, add_special_tokens=False).input_ids), opened_thought(text))


def _template_of(tokenizer: Any, name: str) -> str:
    """Return the source of the chat template, "" if there is none."""
    if not tokenizer.chat_template:
        return ""
    try:
        return str(tokenizer.get_chat_template())
    except ValueError as error:
        # Several templates, and none of them is the default.
        raise ModelError(f"{name} has no default chat template: {str(error).splitlines()[0][:200]}") from error


def silent_tokens(tokenizer: Any) -> frozenset[int]:
    """Return the ids of special tokens that do not belong in a text: all but the marks of thoughts.

    gpt-oss, Magistral and Command A mark their thoughts with special tokens; without these nobody could separate them.
    """
    added = {number: token.content for number, token in tokenizer.added_tokens_decoder.items() if token.special}
    special = added | dict(zip(tokenizer.all_special_ids, tokenizer.all_special_tokens, strict=True))
    marks = marks_among(special.values())
    return frozenset(number for number, text in special.items() if text not in marks)


def _fitting(
    batch: Sequence[Request], prompts: Mapping[str, Prompt], model: Any
) -> tuple[list[Request], list[Request]]:
    """Requests that fit into the model's positions, and those that do not."""
    config = model.config
    positions = None if config.is_encoder_decoder else getattr(config, "max_position_embeddings", None)
    if positions is None:
        return list(batch), []
    fitting = [request for request in batch if len(prompts[request.key].ids) + request.max_tokens <= positions]
    return fitting, [request for request in batch if request not in fitting]


def write(
    model: Any, tokenizer: Any, requests: Sequence[Request], prompts: Sequence[Sequence[int]], silent: Collection[int]
) -> list[tuple[str, str, Usage]]:
    """(text, finish reason, tokens) of one batch; all requests have equal parameters but for the seed.

    Drawn texts depend on the batch's own seed, which comes from its requests: the same batch gives the same texts. Tokens
    in `silent` are left out of the text.
    """
    import torch

    parameters = requests[0].parameters
    stops, temperature = list(parameters.get("stop", ())), float(parameters["temperature"])
    width, is_pair = max(map(len, prompts)), model.config.is_encoder_decoder
    pad = tokenizer.pad_token_id
    padding = [[pad] * (width - len(ids)) for ids in prompts]
    rows = [[*ids, *p] if is_pair else [*p, *ids] for ids, p in zip(prompts, padding, strict=True)]
    ones = [[1] * len(ids) for ids in prompts]
    masks = [[*o, *[0] * len(p)] if is_pair else [*[0] * len(p), *o] for o, p in zip(ones, padding, strict=True)]
    drawing: dict[str, Any] = {"do_sample": False, "num_beams": 1}
    if temperature > 0:
        drawing = {"do_sample": True, "temperature": temperature, "top_p": parameters.get("top_p", 1.0), "top_k": 0}
        seed_everything(derive_seed(*(request.key for request in requests)))
    with torch.no_grad():
        output = model.generate(
            input_ids=torch.tensor(rows, device=model.device),
            attention_mask=torch.tensor(masks, device=model.device),
            max_new_tokens=requests[0].max_tokens,
            pad_token_id=pad,
            **({"stop_strings": stops, "tokenizer": tokenizer} if stops else {}),
            **drawing,
        )
    ends = {tokenizer.eos_token_id, *_as_list(model.generation_config.eos_token_id)} - {None}
    written = []
    for ids, prompt in zip(output[:, 1:] if is_pair else output[:, width:], prompts, strict=True):
        new = ids.tolist()
        stop = next((place for place, token in enumerate(new) if token in ends), None)
        kept = new[: len(new) if stop is None else stop]
        text = tokenizer.decode([token for token in kept if token not in silent], skip_special_tokens=False)
        cut = min((place for place in map(text.find, stops) if place >= 0), default=None)
        reason = "length" if stop is None and cut is None else "stop"
        num_written = len(kept) + (stop is not None)
        written.append((text[:cut].strip(), reason, Usage(len(prompt), num_written)))
    return written


def _as_list(value: Any) -> list[Any]:
    return list(value) if isinstance(value, list | tuple) else [value]
