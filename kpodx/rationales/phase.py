"""The phase: questions and a teacher's completions in, rationales, rejections and a report out."""

from __future__ import annotations

import functools
import statistics
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from kpodx.artifacts import load_questions, save_rationales, write_json, write_jsonl
from kpodx.errors import DataError
from kpodx.rationales.asking import ask_for_rationales, build_template, extra_parameters, open_desk
from kpodx.rationales.config import ASKED, RationalesConfig
from kpodx.rationales.filtering import Candidate, Limits, Origin, Sifted, questions_without, sift
from kpodx.rationales.prompting import rationale_requests
from kpodx.rationales.recorded import QuestionIndex, RecordKeys, load_recordings
from kpodx.rationales.thoughts import choose, describe_thoughts
from kpodx.runtime import PhaseContext
from kpodx.schema import Question, Split
from kpodx.text.thoughts import separate_thoughts

REJECTED = "rejected.jsonl"
REPORT = "report.json"
SOURCE = "source.json"
PROVENANCE = "provenance.jsonl"


def run(context: PhaseContext) -> dict[str, object]:
    """Write `rationales.jsonl`, `provenance.jsonl`, `rejected.jsonl` and `report.json`; return the report.

    Raises:
        DataError: there is no train question, a file of records cannot be used, or no rationale is kept.
        BudgetSpentError, TeacherError: the teacher stopped before the end; what it wrote is kept.
    """
    config: RationalesConfig = context.recipe.rationales
    questions = load_questions(context.inputs["dataset"])
    train = [question for question in questions if question.split is Split.TRAIN]
    if not train:
        raise DataError(
            f"None of the {len(questions)} questions is in the train split; rationales are written for those only.",
            hint="Check the splits in the dataset table of the recipe.",
        )
    source: dict[str, object] = {"teacher": config.teacher}
    asked: dict[str, object] = {}
    if config.teacher in ASKED:
        candidates, source, asked = ask(context, train)
    else:
        candidates = list(build_candidates(config, questions))
    name = config.teacher_name or str(source.get("model", config.teacher))
    outcome = sift(candidates, replace(build_limits(config), count_tokens=token_counter(context)), name)
    report = build_report(outcome, questions) | describe_thoughts(candidates, config.thoughts)
    report |= {"asked": asked} if asked else {}
    write_jsonl(context.output / REJECTED, map(vars, outcome.rejections))
    write_json(context.output / REPORT, report)
    if not outcome.rationales:
        raise _nothing_kept(config, outcome, len(train), context.output / REJECTED)
    save_rationales(context.output, outcome.rationales)
    kept_of_thoughts = {"thoughts": config.thoughts} if "thoughts" in report else {}
    write_json(context.output / SOURCE, {"name": name, "licence": config.licence, **source, **kept_of_thoughts})
    write_jsonl(context.output / PROVENANCE, build_provenance(outcome))
    missing = report["train_questions_without_rationale"]
    context.progress.note(
        f"{len(outcome.rationales)} rationales kept, {len(outcome.rejections)} rejected, {missing} questions without one;"
        f" {report['announcements_removed']} announcements of the answer removed, {sum(outcome.torn().values())} torn texts rejected"
    )
    return report


def ask(
    context: PhaseContext, questions: Sequence[Question]
) -> tuple[list[Candidate], dict[str, object], dict[str, object]]:
    """Candidates from a teacher that is asked; what is the same for all of them; and what the asking took."""
    config: RationalesConfig = context.recipe.rationales
    template = build_template(config)
    with open_desk(context) as (desk, spending):
        candidates, outcomes = ask_for_rationales(questions, config, template, desk)
        if outcomes.sent and config.teacher == "openai":
            price = f", {spending.usd:.2f} US dollars" if spending.usd else ""
            context.progress.note(f"spent on the teacher in this run so far: {spending.tokens:,} tokens{price}")
        reasons = Counter(failure.reason for failure in outcomes.failures.values())
        asked: dict[str, object] = {
            "cached": outcomes.cached,
            "sent": outcomes.sent,
            "failures": dict(reasons.most_common()),
            "run_tokens": spending.tokens,
            "run_usd": round(spending.usd, 6),
        }
        adapted = Counter(done.adapted for done in outcomes.completions.values() if done.adapted)
        source: dict[str, object] = {
            "teacher": config.teacher,
            "model": desk.teacher.label,
            "identity": desk.teacher.model,
            "template": template.name,
            "prompt": template.digest(),
            "answer_extraction": config.prompt.answer_extraction,
            "sampling": config.sampling.model_dump(mode="json") | dict(extra_parameters(config)),
            **({"adapted": dict(adapted.most_common())} if adapted else {}),
        }
    return candidates, source, asked


def build_provenance(outcome: Sifted) -> Iterator[dict[str, object]]:
    """Of each kept rationale: the teacher's request, its sample, when and where it was written. The rest is in `source.json`."""
    for rationale, origin in zip(outcome.rationales, outcome.origins, strict=True):
        yield {"rationale": rationale.id, "teacher": rationale.teacher, **vars(origin)}


def build_limits(config: RationalesConfig) -> Limits:
    """What the settings keep."""
    return Limits(
        config.filter,
        config.max_per_question,
        config.min_characters,
        config.max_characters,
        config.min_agreement,
        config.choose == "diverse",
        config.digits == "ascii",
        max_steps=config.max_steps,
        max_tokens=config.max_tokens,
        accept=config.accept,
    )


def token_counter(context: PhaseContext) -> Callable[[str], int]:
    """Return what counts the student's tokens of a rationale; the tokenizer is read at the first call."""

    @functools.cache
    def backend() -> Any:
        from kpodx.modeling.loading import load_tokenizer

        return load_tokenizer(context.recipe.student.model, context.revisions).backend_tokenizer

    def count(text: str) -> int:
        from kpodx.modeling.token_spans import encode_texts

        [(ids, _)] = encode_texts(backend(), [text])
        return len(ids)

    return count


def build_candidates(config: RationalesConfig, questions: Sequence[Question]) -> Iterator[Candidate]:
    """Every completion of the teacher that the settings name, in order, with its question."""
    if config.teacher != "recorded":
        for question in questions:
            # Questions of other splits keep theirs: they are read by nobody, so they are no rejections either.
            if question.split is Split.TRAIN:
                for text in question.gold_rationales:
                    parts = separate_thoughts(text)
                    candidate = Candidate(question, parts.explanation, is_trusted=config.teacher == "gold")
                    yield choose(candidate, parts, config.thoughts)
        return
    keys = RecordKeys(config.id_key, config.question_key, config.completion_key)
    recording = load_recordings(map(Path, config.files), keys)
    index = QuestionIndex(questions, recording.asked, request_keys(config, questions))
    for path, record in recording.completions:
        parts = separate_thoughts(record.completion, record.thought)
        candidate = Candidate(
            index.find(record),
            parts.explanation,
            record.label,
            failure=record.failure,
            origin=Origin(server=path.name, line=record.line),
            reply=record.reply,
        )
        yield choose(candidate, parts, config.thoughts)


def request_keys(config: RationalesConfig, questions: Sequence[Question]) -> dict[str, str]:
    """Return the question's id by the key of its request, which kpodx's own batches have as custom id.

    Only a recipe that still holds the table of the API's teacher says what the requests were.
    """
    if config.openai is None:
        return {}
    asking = config.model_copy(update={"teacher": "openai"})
    train = [question for question in questions if question.split is Split.TRAIN]
    requests = rationale_requests(
        train, build_template(asking), asking.sampling, config.openai.model, extra_parameters(asking)
    )
    return {request.key: request.question_id for request in requests}


def build_report(outcome: Sifted, questions: Sequence[Question]) -> dict[str, object]:
    """What was kept and rejected: counts, the share of right answers, lengths of the kept reasoning.

    `answer_agreement` is the share of completions of train questions whose own answer equals the reference, before any
    filter; None where there were none. `answers` counts the answers that were read by how the completions give them,
    `torn` the rejected texts by what they end inside of, and `announcements_removed` the announcements of the answer that
    were removed from the kept ones.
    """
    texts = [rationale.text for rationale in outcome.rationales]
    return {
        "completions": len(outcome.rationales) + len(outcome.rejections),
        "kept": len(outcome.rationales),
        "rejected": outcome.reasons(),
        "torn": outcome.torn(),
        "announcements_removed": sum(outcome.num_announcements),
        "answer_agreement": outcome.num_correct / outcome.num_answers if outcome.num_answers else None,
        "answers": {
            source: {"read": outcome.sources[source], "right": outcome.right_sources[source]}
            for source in ("announced", "stated", "guessed")
        },
        "train_questions": sum(question.split is Split.TRAIN for question in questions),
        "train_questions_without_rationale": questions_without(questions, outcome.rationales),
        "characters": _spread([len(text) for text in texts]),
        "steps": _spread(outcome.num_steps),
    }


def _spread(values: Sequence[int]) -> dict[str, float] | None:
    """Smallest, mean, median and largest value; None of nothing."""
    if not values:
        return None
    return {
        "min": min(values),
        "mean": round(statistics.fmean(values), 2),
        "median": statistics.median(values),
        "max": max(values),
    }


def _nothing_kept(config: RationalesConfig, outcome: Sifted, num_train: int, rejected: Path) -> DataError:
    """The error for a teacher of whom nothing was kept, with the likeliest remedy."""
    own = "what the teacher wrote" if config.teacher in ASKED else "the questions' own rationales"
    where = ", ".join(config.files) or own
    if not outcome.rejections:
        return DataError(
            f"No rationale found for {num_train} train questions in {where}.",
            hint="This question set brings no rationales; set rationales.teacher=recorded and rationales.files.",
        )
    reasons = ", ".join(f"{count} {reason}" for reason, count in outcome.reasons().items())
    hints = {
        "no_question": "The records do not match the train questions; check rationales.id_key and rationales.question_key, or name a "
        "batch's input file in rationales.files, too.",
        "not_train": "The records answer questions outside the train split; use records of train questions.",
        "length": "The texts reach their limit; raise rationales.sampling.max_tokens"
        + (" and rationales.gguf.context_tokens." if config.teacher == "gguf" else "."),
        "answer_too_large": "The server's answers are larger than rationales.openai.max_answer_mib.",
        "prompt_too_long": "The prompts and rationales.sampling.max_tokens do not fit into the teacher's context.",
        "no_text": "The teacher wrote no text; if it only thinks, raise rationales.sampling.max_tokens. See failures.jsonl.",
        "server_error": "The server failed each time; see failures.jsonl.",
        "empty": "No text explains its answer; if the teacher's thoughts do, set rationales.thoughts=only.",
        "no_thought": "The teacher gave no thoughts; set rationales.thoughts=drop.",
        "too_many_steps": "The rationales have more steps than rationales.max_steps.",
        "too_many_tokens": "The rationales are longer than rationales.max_tokens.",
    }
    return DataError(
        f"None of {len(outcome.rejections)} completions was kept for {num_train} train questions ({where}): {reasons}.",
        hint=hints.get(next(iter(outcome.reasons())), f"See {rejected}, or loosen the filter."),
    )
