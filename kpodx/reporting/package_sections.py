"""The page's part on packages: size, speed, accuracy, verdicts, budgets, and where answers flipped."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from kpodx.reporting.axes import linear_axis, log_axis
from kpodx.reporting.charts import Interval, Mark, interval_chart, scatter_chart
from kpodx.reporting.markup import Markup, table, tag
from kpodx.reporting.packages import NOT_EVALUATED
from kpodx.reporting.words import NONE, count, figure, figure_of, points, section, share, with_interval
from kpodx.text.figures import percent

LOOKS: dict[str, tuple[int, Mark]] = {"held": (3, "circle"), "undecided": (2, "diamond"), "lost": (4, "square")}
"""Colour and mark of each verdict."""
COLUMNS = (
    "model", "verdict", "accuracy", "difference, points", "lost / gained", "McNemar p", "would decide", "files, MiB", "peak, MiB",
    "tokens/s", "first token, ms", "answer, ms", "answer, 95th percentile", "start, s", "energy an answer, J",
)  # fmt: skip
BUDGETS = {
    "memory_mib": "peak memory, MiB (at most)",
    "size_mib": "files, MiB (at most)",
    "first_token_ms": "first token, ms (at most)",
    "tokens_per_second": "tokens a second (at least)",
}

Model = Mapping[str, Any]
Row = tuple[str, Mapping[str, Any], Model]


def packages_section(packages: Sequence[Mapping[str, Any]]) -> Markup:
    """All packages of the run."""
    main = [package for package in packages if not package["is_other"]]
    others = [package for package in packages if package["is_other"]]
    models = [(_name(package, model, main), package, model) for package in main for model in package["models"]]
    judged = [row for row in models if row[2]["verdict"]]
    drawn = [_scatter(judged)] if any(model["speed"] for _, _, model in judged) else []
    if judged:
        drawn.append(_differences(judged))
    return section(
        "packages",
        "The packages: size, speed, accuracy",
        list(_meanings(judged))
        if judged
        else tag("p", "No package was evaluated yet: kpodx evaluate.", class_="absent"),
        tag("div", drawn, class_="figures") if drawn else None,
        table(
            COLUMNS,
            [_row(name, model) for name, _, model in models],
            "Every model of every package. Times are medians; would decide: about so many more questions, if answers went on as they did",
        ),
        table(
            COLUMNS, [_row(*row) for row in _other_rows(others)], "Other questions, a part of them, or another device"
        )
        if others
        else None,
        [_package(package) for package in packages],
    )


def _other_rows(packages: Sequence[Mapping[str, Any]]) -> Iterator[tuple[str, Model]]:
    for package in packages:
        asked = package["questions"]
        for model in package["models"]:
            yield (
                f"{package['name']} {model['quantization']}: {asked.get('name')}, {count(asked['n'])} questions",
                model,
            )


def _name(package: Mapping[str, Any], model: Model, packages: Sequence[Mapping[str, Any]]) -> str:
    return str(model["quantization"]) if len(packages) == 1 else f"{package['name']} {model['quantization']}"


def shorten(name: str, most: int) -> str:
    """A name of so many letters at most; its end, which tells the quantisation, is kept.

    >>> shorten("raspberry-pi-5 Q4_K_M", 18), shorten("q4", 18)
    ('raspberr…-5 Q4_K_M', 'q4')
    """
    return name if len(name) <= most else f"{name[: most - 10]}…{name[-9:]}"


def _meanings(rows: Sequence[Row]) -> Iterator[Markup]:
    """What verdicts mean, once for all packages that were judged alike."""
    alike: dict[tuple[float, ...], list[str]] = {}
    for _, package, _ in rows:
        names = alike.setdefault((package["margin"], package["confidence"], package["least_questions"]), [])
        if package["name"] not in names:
            names.append(package["name"])
    for terms, names in alike.items():
        yield tag("p", f"For {', '.join(names)}: " if len(alike) > 1 else None, _meaning(*terms))


def _meaning(margin: float, confidence: float, least_questions: float) -> list[object]:
    most = f"{100 * margin:g} points"
    level = f"{percent(confidence).removesuffix('.0')} %"
    return [
        _verdict("held"),
        f" means: it loses less than {most} against the student, at {level} confidence; ",
        _verdict("lost"),
        f": it loses more than {most}, likewise; ",
        _verdict("undecided"),
        f": neither is shown. {count(least_questions)} questions are the fewest that can show held.",
    ]


def _verdict(word: str) -> Markup:
    colour, _ = LOOKS.get(word, (1, "circle"))
    return tag("span", word, class_=f"verdict c{colour}")


def _row(name: str, model: Model) -> list[object]:
    verdict, speed = model["verdict"], model["speed"] or {}
    shown: list[object] = [name]
    if verdict:
        shown += [
            _verdict(verdict["word"]),
            with_interval(model["accuracy"]),
            _difference(verdict),
            f"{verdict['lost']} / {verdict['gained']}",
            figure_of(verdict["p_value"]),
            count(verdict["more_questions"]),
        ]
    else:
        shown += [model["state"], *[NONE] * 5]
    middle = {key: (speed.get(key) or {}).get("p50") for key in ("tokens_per_second", "first_token_ms", "answer_ms")}
    times = [*middle.values(), (speed.get("answer_ms") or {}).get("p95")]
    cost = [
        model["size_mib"],
        model.get("peak_mib"),
        *times,
        model.get("start_seconds"),
        model.get("energy_joules_per_answer"),
    ]
    return [*shown, *map(figure_of, cost)]


def _difference(verdict: Mapping[str, Any]) -> str:
    return f"{points(verdict['difference'])} [{points(verdict['low'])}, {points(verdict['high'])}]"


def _result_file(package: Mapping[str, Any]) -> str:
    return f"acceptance/{package['name']}/result.json"


def _files(rows: Sequence[Row]) -> list[str]:
    return list(dict.fromkeys(_result_file(package) for _, package, _ in rows))


def _scatter(rows: Sequence[Row]) -> Markup:
    timed = [row for row in rows if row[2]["speed"]]
    machines = {_machine(package) for _, package, _ in timed}
    says = (
        "Size of the files and speed of an answer; the words are accuracy and verdict. "
        "Upper left is small and fast, lower right big and slow."
    )
    if len(machines) > 1:
        says += " Speeds were measured on different machines or with different threads: compare sizes only."
    marks = []
    for name, _, model in timed:
        colour, mark = LOOKS[model["verdict"]["word"]]
        words = f"{shorten(name, 26)} · {share(model['accuracy']['accuracy'])} · {model['verdict']['word']}"
        marks.append((words, model["size_mib"], model["speed"]["tokens_per_second"]["p50"], colour, mark))
    x = log_axis("files, MiB (logarithmic)", [mark[1] for mark in marks])
    y = linear_axis("tokens a second", [mark[2] for mark in marks], lambda value: f"{value:,g}")
    return figure(
        scatter_chart("tradeoff", "Size, speed and accuracy of the packages", says, marks, x, y),
        "Size × speed × accuracy",
        says,
        _files(timed),
        ("model", "files, MiB", "tokens/s", "accuracy", "verdict"),
        [
            (
                name,
                figure_of(model["size_mib"]),
                figure_of(model["speed"]["tokens_per_second"]["p50"]),
                with_interval(model["accuracy"]),
                model["verdict"]["word"],
            )
            for name, _, model in timed
        ],
    )


def _differences(rows: Sequence[Row]) -> Markup:
    margins = sorted({package["margin"] for _, package, _ in rows})
    beyond = "; ".join(dict.fromkeys(f"{100 * (1 - package['confidence']):g} %" for _, package, _ in rows))
    says = (
        f"Accuracy of the package less the student's on the same questions, with Tango's score interval, {beyond} beyond each end. "
        "Dashed lines: no difference, and the margin. Held means that the whole whisker is right of the margin."
    )
    intervals = []
    for name, _, model in rows:
        verdict = model["verdict"]
        colour, mark = LOOKS[verdict["word"]]
        value, low, high = (100 * verdict[key] for key in ("difference", "low", "high"))
        intervals.append(
            Interval(f"{shorten(name, 18)} · {verdict['word']}", value, low, high, _difference(verdict), colour, mark)
        )
    ends = [end for row in intervals for end in (row.low, row.high)]
    references = [0.0, *(-100 * margin for margin in margins)]
    axis = linear_axis("difference, percentage points", [*ends, *references], "{:+g}".format)
    return figure(
        interval_chart("verdicts", "Accuracy lost or gained by the packages", says, intervals, axis, references),
        "What the package loses against the student",
        says,
        _files(rows),
        ("model", "verdict", "difference, points", "margin, points", "questions"),
        [
            (
                name,
                model["verdict"]["word"],
                _difference(model["verdict"]),
                f"{100 * package['margin']:g}",
                count(model["verdict"]["questions"]),
            )
            for name, package, model in rows
        ],
    )


def _machine(package: Mapping[str, Any]) -> str:
    machine, device = package["machine"] or {}, package["device"] or {}
    return f"{machine.get('processor')}, {machine.get('cores')} cores, {machine.get('architecture')}; threads used: {device.get('threads')}"


def _package(package: Mapping[str, Any]) -> Markup:
    """What is said of one package below the figures."""
    words = [f"Format {package['kind']}" + (f", profile {package['profile']}" if package["profile"] else "") + "."]
    if package["machine"]:
        words.append(
            f"Measured on {_machine(package)}, by {count(package['questions']['n'])} questions ({package['questions']['name']}). "
            "On another machine than the device, times say little about the device."
        )
    waiting = [model["quantization"] for model in package["models"] if model["state"] == NOT_EVALUATED]
    if waiting:
        words.append(f"Not evaluated: {', '.join(waiting)}.")
    if package["of_this_student"] is False:
        words.append("It was exported from another student than this run has now.")
    if package["result_is_of_this_package"] is False:
        words.append("The package was exported again since: its results are those of the earlier one.")
    return tag("div", tag("h3", f"Package {package['name']}"), tag("p", " ".join(words)), list(_more(package)))


def _more(package: Mapping[str, Any]) -> Iterator[Markup]:
    models = package["models"]
    for model in models:
        if model.get("error"):
            yield tag(
                "p", f"{model['quantization']} did not finish ({model['state']}): {model['error']}", class_="notice"
            )
    budgets = [
        (
            model["quantization"],
            BUDGETS.get(row["budget"], row["budget"]),
            figure_of(row["limit"]),
            figure_of(row["measured"]),
            {True: "held", False: "not held", None: "not measured"}[row["held"]],
        )
        for model in models
        for row in model["budgets"]
    ]
    if budgets:
        yield table(("model", "budget", "allowed", "measured", "verdict"), budgets, "Budgets of the profile")
    yield from _by_steps(package)
    lost = _lost_answers(models)
    if lost:
        yield tag("details", tag("summary", "Where answers were lost"), lost)


def _lost_answers(models: Sequence[Model]) -> list[Markup]:
    """At which step lost answers first went another way, and the first of them in words."""
    counts = [
        (model["quantization"], f"step {int(step) + 1}", count(number))
        for model in models
        for step, number in (model.get("first_wrong_step") or {}).items()
        if number
    ]
    flips = [
        (
            flip["question_id"],
            model["quantization"],
            str(flip["step"] + 1),
            flip["expected"] or "(it had ended)",
            flip["got"] or "(it ended)",
        )
        for model in models
        for flip in model["flips"]
    ]
    shown = []
    if counts:
        shown.append(
            table(("model", "step", "lost answers"), counts, "Where lost answers first differ from the student's")
        )
    if flips:
        columns = ("question", "model", "step", "the student wrote", "the package wrote")
        shown.append(table(columns, flips, "The first lost answers of each model, at the step where they part"))
    return shown


def _by_steps(package: Mapping[str, Any]) -> Iterator[Markup]:
    named = [
        ("student", package["student"]),
        *((model["quantization"], model["accuracy"]) for model in package["models"]),
    ]
    told = [(name, part) for name, part in named if part and part.get("by_steps")]
    if len(told) < 2:
        return
    steps = list(dict.fromkeys(key for _, part in told for key in part["by_steps"]))
    rows = [(f"{key} steps", *(with_interval(part["by_steps"].get(key)) for _, part in told)) for key in steps]
    yield table(("questions", *(name for name, _ in told)), rows, "Accuracy by number of steps")
