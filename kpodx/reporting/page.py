"""The page: one HTML file that asks nothing of anybody. No script, no picture, no font from elsewhere."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

from kpodx.reporting.markup import Markup, join, table, tag
from kpodx.reporting.package_sections import packages_section
from kpodx.reporting.rationale_sections import difficulty_section, examples_section, weights_section
from kpodx.reporting.training_sections import accuracy_section, schedule_section, training_section
from kpodx.reporting.words import count, facts, figure_of, section, share
from kpodx.text.figures import percent, show_seconds

POLICY = "default-src 'none'; style-src 'unsafe-inline'; base-uri 'none'; form-action 'none'"
TITLES = {
    "data": ("data", "Questions and rationales"),
    "examples": ("examples", "Keypoints on real rationales"),
    "token_weights": ("weights", "Which tokens matter"),
    "difficulty": ("difficulty", "How hard the steps are"),
    "schedule": ("schedule", "What came when: planned and done"),
    "training": ("training", "How training went"),
    "accuracy": ("accuracy", "How often the student is right"),
    "packages": ("packages", "The packages: size, speed, accuracy"),
}
"""Anchor and title of each part of the document."""


def render_page(document: Mapping[str, Any], figures_file: str) -> str:
    """The document as one HTML page.

    Args:
        document: as `build_document` makes it.
        figures_file: name of the JSON file beside the page.
    """
    title = f"{document['provenance']['recipe'] or document['run']}: what the run found"
    head = tag(
        "head",
        tag("meta", charset="utf-8"),
        tag("meta", http_equiv="Content-Security-Policy", content=POLICY),
        tag("meta", name="viewport", content="width=device-width, initial-scale=1"),
        tag("meta", name="color-scheme", content="light dark"),
        tag("meta", name="referrer", content="no-referrer"),
        tag("title", title),
        tag("style", Markup(_style())),
    )
    main = tag("main", [_part(part, document) for part in TITLES], provenance_section(document["provenance"]))
    body = tag("body", _header(document, title), _contents(), main, _footer(document, figures_file))
    return "<!doctype html>\n" + tag("html", head, body, lang="en") + "\n"


def _style() -> str:
    return Path(__file__).with_name("page.css").read_text(encoding="utf-8")


def _header(document: Mapping[str, Any], title: str) -> Markup:
    provenance = document["provenance"]
    state = document["state"]
    incomplete = (
        f"This run is not finished ({state}): parts are missing below, and say so." if state != "finished" else None
    )
    return tag(
        "header",
        tag("h1", title),
        tag("p", provenance["description"], class_="quiet") if provenance["description"] else None,
        tag("p", incomplete, class_="notice") if incomplete else None,
        tag(
            "dl", [tag("div", tag("dt", words), tag("dd", value)) for value, words in _tiles(document)], class_="tiles"
        ),
    )


def _tiles(document: Mapping[str, Any]) -> Iterator[tuple[str, str]]:
    """The figures that most readers come for: (value, what it is)."""
    splits = (document.get("accuracy") or {}).get("splits") or {}
    split = next((name for name in ("test", "validation") if name in splits), None)
    if split:
        found = splits[split]
        ends = f" (interval {percent(found['low'])} to {percent(found['high'])} %)" if "low" in found else ""
        yield share(found["accuracy"]), f"of {count(found['n'])} {split} questions right{ends}"
    kept = (document.get("data") or {}).get("rationales") or {}
    if kept.get("kept") is not None:
        yield count(kept["kept"]), f"rationales kept of {count(kept.get('completions'))} that the teacher wrote"
    packages = [package for package in document.get("packages", []) if not package["is_other"]]
    models = [model for package in packages for model in package["models"]]
    held = [model for model in models if model["verdict"] and model["verdict"]["word"] == "held"]
    judged = [model for model in models if model["verdict"]]
    if judged:
        small = min((model["size_mib"] for model in held), default=None)
        least = f"; the smallest of them takes {figure_of(small)} MiB" if small is not None else ""
        yield f"{len(held)} of {len(judged)}", f"evaluated model files held the student's accuracy{least}"
    seconds = [phase["seconds"] for phase in document["provenance"]["phases"] if phase["seconds"] is not None]
    if seconds:
        yield show_seconds(sum(seconds)), "for all finished phases together"


def _contents() -> Markup:
    links = [*TITLES.values(), ("provenance", "Where it comes from")]
    return tag(
        "nav", tag("ul", [tag("li", tag("a", title, href=f"#{name}")) for name, title in links]), aria_label="Contents"
    )


def _part(part: str, document: Mapping[str, Any]) -> Markup:
    """A part's section, or the reason why there is none."""
    if part in document["absent"]:
        return section(*TITLES[part], tag("p", f"Not in this report: {document['absent'][part]}.", class_="absent"))
    found, files = document[part], document["files"]
    if part == "data":
        return data_section(found)
    if part == "examples":
        return examples_section(found, files)
    if part == "token_weights":
        return weights_section(found, files["weighting"])
    if part == "difficulty":
        return difficulty_section(found, files["difficulty"])
    if part == "schedule":
        return schedule_section(found, files[found["written_by"]])
    if part == "training":
        full = (document.get("schedule") or {}).get("full_stage")
        return training_section(found, full, files["distillation"])
    return accuracy_section(found, files["evaluation"]) if part == "accuracy" else packages_section(found)


def data_section(part: Mapping[str, Any]) -> Markup:
    """Counts of questions, and of what the teacher wrote."""
    steps = part.get("num_steps") or {}
    rows = [
        (split, count(number), ", ".join(f"{k}: {count(n)}" for k, n in (steps.get(split) or {}).items()) or "not told")
        for split, number in (part.get("questions") or {}).items()
    ]
    shown: list[object] = [table(("split", "questions", "by steps of the reference"), rows, "Questions")]
    if part["rationales"]:
        kept = part["rationales"]
        rejected = [
            (reason.replace("_", " "), count(number)) for reason, number in (kept.get("rejected") or {}).items()
        ]
        told = [
            ("written by the teacher", count(kept.get("completions"))),
            ("kept", count(kept.get("kept"))),
            *rejected,
        ]
        shown.append(table(("rationales", "how many"), told, "Rationales"))
    return section(*TITLES["data"], tag("div", [tag("div", drawn) for drawn in shown], class_="figures"))


def provenance_section(part: Mapping[str, Any]) -> Markup:
    """All that a reader needs to judge or to repeat the run."""
    commit = (part["git"] or {}).get("commit")
    rows = [
        ("recipe", part["recipe"]),
        ("seed", part["seed"]),
        ("begun", part["created"]),
        ("last written", part["updated"]),
        ("git commit of the recipe's checkout", commit and commit[:12]),
        ("kpodx", part["kpodx"]),
        ("Python", part["python"]),
        ("platform", part["platform"]),
        ("threads", part["threads"]),
        ("student's parameters, sha256", part["student_sha256"] and part["student_sha256"][:16]),
        *((f"input {item['name']}, sha256", item["sha256"][:16]) for item in part["inputs"]),
        *((f"hub commit of {name}", commit[:12]) for name, commit in part["revisions"].items()),
    ]
    origin = [
        (name.replace("_", " "), entry["name"], entry["licence"]) for name, entry in (part["origin"] or {}).items()
    ]
    phases = [
        (
            phase["name"],
            phase["state"],
            "" if phase["seconds"] is None else show_seconds(phase["seconds"]),
            tag("code", phase["folder"].rpartition("/")[2]),
            "" if phase["seed"] is None else str(phase["seed"]),
            phase["found"] or "",
        )
        for phase in part["phases"]
    ]
    settings = [(tag("code", row["key"]), tag("code", _value(row["value"])), row["source"]) for row in part["settings"]]
    versions = [(name, version or "not installed") for name, version in part["packages"].items()]
    return section(
        "provenance",
        "Where it comes from",
        tag(
            "p",
            "From manifest.json and done.json of each phase. Hashes are shortened here; the JSON file has them whole.",
        ),
        table(("what", "name", "licence"), origin, "Base model, data and teacher") if origin else None,
        facts(rows, "The run"),
        table(("phase", "state", "time", "fingerprint", "seed", "found"), phases, "Phases"),
        tag(
            "details",
            tag("summary", "Settings that are no defaults"),
            table(("setting", "value", "given in"), settings),
        )
        if settings
        else None,
        tag("details", tag("summary", "Versions of packages"), table(("package", "version"), versions))
        if versions
        else None,
    )


def _value(value: object) -> str:
    return ", ".join(map(str, value)) if isinstance(value, list | tuple) else str(value)


def _footer(document: Mapping[str, Any], figures_file: str) -> Markup:
    words = join(["Written by kpodx ", document["kpodx"], " from the run ", tag("code", document["run"]), ". "])
    return tag(
        "footer",
        tag(
            "p",
            words,
            "The same figures, not rounded: ",
            tag("code", figures_file),
            " beside this page.",
            class_="quiet",
        ),
    )
