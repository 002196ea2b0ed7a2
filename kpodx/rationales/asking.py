"""Asking a teacher for the rationales of many questions: what is cached is not asked again, what comes is kept at once."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from kpodx.artifacts import Journal, hash_json
from kpodx.errors import UsageError
from kpodx.rationales.access import Access
from kpodx.rationales.cache import AnswerCache, default_cache
from kpodx.rationales.config import RationalesConfig, ThoughtChoice
from kpodx.rationales.filtering import EXCERPT_CHARACTERS, Candidate, Origin
from kpodx.rationales.openai_api import OpenAITeacher
from kpodx.rationales.prompting import (
    ANSWER_TEMPLATE,
    Template,
    answer_request,
    load_examples,
    needs_answer,
    rationale_requests,
)
from kpodx.rationales.recorded import REPLY_KEY
from kpodx.rationales.requests import PAID_REASONS, Completion, Failure, Request, thought_alone
from kpodx.rationales.spending import Budget, Estimate, Prices, Spending, estimate, in_words
from kpodx.rationales.teachers import Outlet, Teacher
from kpodx.rationales.thoughts import choose
from kpodx.runtime import PhaseContext, Progress
from kpodx.schema import AnswerKind, Question
from kpodx.text.completions import clean_completion
from kpodx.text.thoughts import Separated, separate_thoughts

FAILURES = "failures.jsonl"
SPENDING = "spending.jsonl"
BATCH = "batch.json"


@dataclass
class Outcomes:
    """What came of requests, by key, and how many of them were sent now."""

    completions: dict[str, Completion] = field(default_factory=dict)
    failures: dict[str, Failure] = field(default_factory=dict)
    cached: int = 0
    sent: int = 0

    def add(self, other: Outcomes) -> None:
        """Put two together."""
        self.completions |= other.completions
        self.failures |= other.failures
        self.cached += other.cached
        self.sent += other.sent


@dataclass(frozen=True)
class Desk:
    """What asking needs.

    Attributes:
        teacher: who is asked.
        cache: the answers of all runs.
        failures: this phase's failures; a request that failed is not sent again within the phase.
        progress: where progress is shown.
        before: is called with the requests that are about to be sent, and how many are cached.
        ask_failures_again: whether paid failures of earlier phases are asked for again.
    """

    teacher: Teacher
    cache: AnswerCache
    failures: Journal
    progress: Progress
    before: Callable[[Sequence[Request], int], None] = lambda _missing, _cached: None
    ask_failures_again: bool = False

    def ask(self, requests: Iterable[Request], description: str) -> Outcomes:
        """Return the outcome of every request; equal requests are one."""
        waiting = {request.key: request for request in requests}
        outcomes = self._known(waiting)
        known = outcomes.completions.keys() | outcomes.failures.keys()
        missing = [request for key, request in waiting.items() if key not in known]

        def deliver(outcome: Completion | Failure) -> None:
            self._keep(outcome)
            kept = outcomes.completions if isinstance(outcome, Completion) else outcomes.failures
            kept[outcome.request.key] = outcome  # type: ignore[assignment]
            outcomes.sent += 1

        if missing:
            self.before(missing, outcomes.cached)
            outlet = Outlet(deliver, lambda request: self.cache.find([request]).get(request.key), bool(known))
            self.teacher.ask(missing, outlet, self.progress, description)
        return outcomes

    def _known(self, waiting: Mapping[str, Request]) -> Outcomes:
        """Return what is kept: answers, this phase's failures, and the paid failures of earlier phases."""
        outcomes = Outcomes(self.cache.find(waiting.values()))
        for record in self.failures.records:
            if (request := waiting.get(record["key"])) is not None:
                outcomes.failures[request.key] = load_failure(record, request)
        if not self.ask_failures_again:
            known = outcomes.completions.keys() | outcomes.failures.keys()
            unknown = [request for key, request in waiting.items() if key not in known]
            for key, failure in self.cache.find_failures(unknown).items():
                self.failures.append(failure_record(failure))
                outcomes.failures[key] = failure
        outcomes.cached = len(outcomes.completions)
        return outcomes

    def _keep(self, outcome: Completion | Failure) -> None:
        """Write an outcome down before anything else happens."""
        if isinstance(outcome, Completion):
            self.cache.put([outcome])
            return
        if outcome.reason in PAID_REASONS:
            self.cache.put_failure(outcome)
        self.failures.append(failure_record(outcome))


def failure_record(failure: Failure) -> dict[str, Any]:
    """Return a failure as a line of `failures.jsonl`; what a teacher thought before it is kept whole."""
    record = {
        "key": failure.request.key,
        "question_id": failure.request.question_id,
        "reason": failure.reason,
        "excerpt": failure.text[:EXCERPT_CHARACTERS],
        "finish_reason": failure.finish_reason,
        "thought": failure.thought,
    }
    return {name: value for name, value in record.items() if value or name not in ("finish_reason", "thought")}


def load_failure(record: Mapping[str, Any], request: Request) -> Failure:
    """Return the failure that a line of `failures.jsonl` holds; lines of older versions lack some fields."""
    more = {name: record.get(name, "") for name in ("finish_reason", "thought")}
    return Failure(request, record["reason"], record["excerpt"], **more)


def build_template(config: RationalesConfig) -> Template:
    """The prompt of the settings, its examples read."""
    examples = config.prompt.examples
    return Template(config.prompt, load_examples(Path(examples)) if examples else ())


def extra_parameters(config: RationalesConfig) -> Mapping[str, Any]:
    """Parameters beside the sampling's that decide a text; none that is empty, so that what was kept before stays valid."""
    if config.teacher == "openai" and config.openai:
        return {**config.openai.extra, **({"api": config.openai.api} if config.openai.api != "chat" else {})}
    local = {"transformers": config.transformers, "gguf": config.gguf}.get(config.teacher)
    return {"chat_template_kwargs": local.chat_template_kwargs} if local and local.chat_template_kwargs else {}


def ask_for_rationales(
    questions: Sequence[Question], config: RationalesConfig, template: Template, desk: Desk
) -> tuple[list[Candidate], Outcomes]:
    """Every sample of every question as a candidate, in order, and the outcomes of all requests.

    If the answer is asked for alone (`rationales.prompt.answer_extraction`), a candidate has the reply to that beside its text.
    """
    extra = extra_parameters(config)
    requests = rationale_requests(questions, template, config.sampling, desk.teacher.model, extra)
    outcomes = desk.ask(requests, f"Asking {desk.teacher.label}")
    by_id = {question.id: question for question in questions}
    follow_ups = {
        request.key: asked
        for request in requests
        if (done := outcomes.completions.get(request.key))
        and (asked := follow_up_of(request, done, by_id[request.question_id].answer_kind, config))
    }
    if follow_ups:
        outcomes.add(desk.ask(follow_ups.values(), f"Asking {desk.teacher.label} for answers"))
    candidates = [
        _candidate(request, by_id[request.question_id], outcomes, follow_ups.get(request.key), config.thoughts)
        for request in requests
    ]
    return candidates, outcomes


def parts_of(done: Completion) -> Separated:
    """A completion's thought and explanation."""
    return separate_thoughts(done.text, done.thought)


def follow_up_of(request: Request, done: Completion, kind: AnswerKind, config: RationalesConfig) -> Request | None:
    """Return the second question, or None if none is needed.

    A thought never goes back to the teacher: the question holds the explanation alone, and without one it is not asked.
    """
    parts = parts_of(done)
    if parts.is_unclosed or not parts.explanation.strip():
        return None
    if not needs_answer(parts.explanation, config.prompt.answer_extraction):
        return None
    return answer_request(request, parts.explanation, kind, config.sampling, extra_parameters(config))


def _candidate(
    request: Request, question: Question, outcomes: Outcomes, follow_up: Request | None, thoughts: ThoughtChoice
) -> Candidate:
    failure = outcomes.failures.get(request.key) or (follow_up and outcomes.failures.get(follow_up.key))
    if failure and thoughts != "drop" and (alone := thought_alone(failure)):
        # The teacher thought, and wrote nothing after it: the thought may be the rationale.
        return choose(Candidate(question, "", origin=Origin(request.key, request.sample)), parts_of(alone), thoughts)
    if failure:
        return Candidate(question, failure.text, failure=failure.reason, origin=Origin(request.key, request.sample))
    done = outcomes.completions[request.key]
    parts, reply = parts_of(done), None
    origin = Origin(request.key, request.sample, done.created, done.server, adapted=done.adapted)
    if follow_up:
        answered = parts_of(outcomes.completions[follow_up.key])
        if answered.is_unclosed:
            return Candidate(question, answered.thought, failure="length", origin=origin)
        reply = answered.explanation
    return choose(Candidate(question, parts.explanation, origin=origin, reply=reply), parts, thoughts)


def export_completions(cache: AnswerCache, model: str | None, template: str | None) -> Iterator[dict[str, Any]]:
    """Every kept rationale as a record that teacher `recorded` reads, with its answer where that was asked for alone."""
    answers: dict[tuple[str, str], str] = {}
    for record in cache.export(model):
        if record["template"].endswith(ANSWER_TEMPLATE):
            *first, reasoning, _cue = (message["content"] for message in record["messages"])
            reply = separate_thoughts(record["completion"], record.get("thought", ""))
            answers[hash_json([record["model"], first]), reasoning] = reply.explanation
    for record in cache.export(model, template):
        if not record["template"].endswith(ANSWER_TEMPLATE):
            first = [message["content"] for message in record["messages"]]
            parts = separate_thoughts(record["completion"], record.get("thought", ""))
            answer = answers.get((hash_json([record["model"], first]), clean_completion(parts.explanation)))
            yield record if answer is None else {**record, REPLY_KEY: answer}


def cache_path(config: RationalesConfig, environment: Mapping[str, str]) -> Path:
    """The file of answers that the settings name, or the user's own."""
    return Path(config.cache) if config.cache else default_cache(environment)


def open_spending(config: RationalesConfig, path: Path) -> Spending:
    """The run's log of what it spent on its teacher."""
    cost = config.cost
    prices = Prices(cost.input_usd_per_million, cost.output_usd_per_million)
    return Spending(path, prices, Budget(cost.budget_usd, cost.budget_tokens))


def build_teacher(context: PhaseContext, spending: Spending) -> Teacher:
    """The teacher that the settings name."""
    config: RationalesConfig = context.recipe.rationales
    if config.teacher == "openai" and config.openai:
        access = Access.of(config.openai, context.environment)
        if config.openai.batch:
            from kpodx.rationales.batch_api import BatchTeacher

            return BatchTeacher(config.openai, access, spending, context.output.parent / BATCH)
        return OpenAITeacher(config.openai, access, spending)
    if config.cost.budget_usd is not None or config.cost.budget_tokens is not None:
        raise UsageError(
            f"rationales.cost holds a budget, but teacher {config.teacher!r} runs here and costs nothing.",
            hint="Leave the budget out, or take teacher 'openai'.",
        )
    if config.teacher == "gguf" and config.gguf:
        from kpodx.rationales.gguf_teacher import GgufTeacher

        return GgufTeacher(config.gguf)
    from kpodx.rationales.transformers_teacher import TransformersTeacher

    assert config.transformers is not None
    return TransformersTeacher(config.transformers, context.recipe.runtime.device, context.revisions)


@contextlib.contextmanager
def open_desk(context: PhaseContext) -> Iterator[tuple[Desk, Spending]]:
    """All that asking needs, closed at the end."""
    config: RationalesConfig = context.recipe.rationales
    with contextlib.ExitStack() as stack:
        # Beside the phase's own folder: a run's budget holds whatever else of its settings changes.
        spending = open_spending(config, context.output.parent / SPENDING)
        stack.callback(spending.close)
        teacher = build_teacher(context, spending)
        cache = stack.enter_context(AnswerCache(cache_path(config, context.environment)))
        failures = stack.enter_context(Journal(context.output / FAILURES))

        def tell(missing: Sequence[Request], cached: int) -> None:
            usual = cache.usual_usage(teacher.model, missing[0].template)
            context.progress.note(in_words(estimate(missing, cached, spending.prices, usual)))

        paid = config.teacher == "openai"
        before = tell if paid else Desk.before
        again = config.ask_failures_again
        yield Desk(teacher, cache, failures, context.progress, before, again), spending


def estimate_cost(
    questions: Sequence[Question], config: RationalesConfig, environment: Mapping[str, str]
) -> Estimate | None:
    """What asking an API for these questions would take, from what is cached; None for teachers that cost nothing."""
    if config.teacher != "openai" or config.openai is None:
        return None
    template, extra, extraction = build_template(config), extra_parameters(config), config.prompt.answer_extraction
    requests = rationale_requests(questions, template, config.sampling, config.openai.model, extra)
    unique = {request.key: request for request in requests}
    kinds = {question.id: question.answer_kind for question in questions}
    found: dict[str, Completion] = {}
    failed: dict[str, Failure] = {}
    usual = None
    path = cache_path(config, environment)
    if path.is_file():
        with AnswerCache(path) as cache:
            found = cache.find(unique.values())
            # What is kept of the first answers tells which second questions follow.
            asked = (
                follow_up_of(done.request, done, kinds[done.request.question_id], config) for done in found.values()
            )
            second = [request for request in asked if request]
            unique |= {request.key: request for request in second}
            found |= cache.find(second)
            failed = {} if config.ask_failures_again else cache.find_failures(unique.values())
            usual = cache.usual_usage(config.openai.model, template.name)
    waiting = [request for key, request in unique.items() if key not in found and key not in failed]
    cost = config.cost
    return estimate(
        [request for request in waiting if request.template == template.name],
        len(found),
        Prices(cost.input_usd_per_million, cost.output_usd_per_million),
        usual,
        known_second=[request for request in waiting if request.template != template.name],
        answer_max_tokens=0 if extraction == "never" else config.sampling.answer_max_tokens,
        always=extraction == "always",
    )
