"""The page: the figures it shows are the document's, nothing in it can run or be fetched, and missing parts are told."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest
from reported_runs import PHASES, add_package, make_run, model, over_memory

from kpodx.artifacts import read_json, write_json
from kpodx.errors import StorageError, UsageError
from kpodx.reporting.document import build_document
from kpodx.reporting.markup import Markup, join, table, tag
from kpodx.reporting.page import TITLES, render_page
from kpodx.reporting.rationale_sections import paint, trim, weights_section
from kpodx.reporting.writing import check_output, write_report
from kpodx.runs import load_run

HOSTILE = "<script>alert('x')</script> & \"q\" </style><img src=x onerror=alert(1)>"


@dataclass
class Parsed(HTMLParser):
    """What a page holds: its tags with attributes, its text, and its tables by their heading row."""

    tags: list[tuple[str, dict[str, str | None]]] = field(default_factory=list)
    words: list[str] = field(default_factory=list)
    tables: dict[tuple[str, ...], list[list[str]]] = field(default_factory=dict)

    def __post_init__(self) -> None:
        super().__init__()
        self._rows: list[list[str]] = []
        self._inside: list[str] = []

    def __hash__(self) -> int:
        return id(self)

    def handle_starttag(self, name: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append((name, dict(attrs)))
        self._inside.append(name)
        if name == "table":
            self._rows = []
        elif name == "tr":
            self._rows.append([])
        elif name in ("th", "td"):
            self._rows[-1].append("")

    def handle_endtag(self, name: str) -> None:
        while self._inside and self._inside.pop() != name:
            pass
        if name == "table":
            self.tables[tuple(self._rows[0])] = self._rows[1:]

    def handle_data(self, data: str) -> None:
        if "style" not in self._inside:
            self.words.append(data)
        if self._rows and ("td" in self._inside or "th" in self._inside):
            self._rows[-1][-1] += data

    @property
    def text(self) -> str:
        """All words, with single spaces."""
        return " ".join("".join(self.words).split())


def parse(page: str) -> Parsed:
    """Read a page."""
    parsed = Parsed()
    parsed.feed(page)
    return parsed


def page_of(run: Path) -> tuple[dict[str, Any], Parsed]:
    """The document of a run and its page."""
    document = build_document(load_run(run))
    return document, parse(render_page(document, "report.json"))


@pytest.fixture(scope="module")
def whole(tmp_path_factory: pytest.TempPathFactory) -> tuple[dict[str, Any], Parsed]:
    """Document and page of a finished run with two packages."""
    run = make_run(tmp_path_factory.mktemp("runs") / "whole")
    add_package(run, "pi", more="f32")
    add_package(run, "phone", model("q4", "lost", 0, 90, 2.0, 10.0), over_memory("q8"))
    return page_of(run)


def percent(value: float) -> str:
    """A share as the page writes it."""
    return f"{100 * value:.1f} %"


def with_ends(part: dict[str, Any]) -> str:
    """An accuracy as the page writes it."""
    return f"{100 * part['accuracy']:.1f} % [{100 * part['low']:.1f}, {100 * part['high']:.1f}]"


def test_tables_show_the_figures_of_the_document(whole: tuple[dict[str, Any], Parsed]) -> None:
    document, page = whole
    kinds = [
        [row["kind"].replace("_", " "), f"{row['mean']:.4f}", str(row["count"])]
        for row in document["token_weights"]["kinds"]
    ]
    assert page.tables["kind", "mean weight", "tokens"] == kinds
    stages = page.tables["stage", "planned", "done", "steps given", "rationales that grew", "rationales written whole"]
    assert stages == [
        [
            str(row["stage"]),
            *map(percent, (row["planned"], row["done"], row["given_share"])),
            str(row["selected"]),
            percent(row["share_released"]),
        ]
        for row in document["schedule"]["stages"]
    ]
    assert [float(row[1]) for row in page.tables["update", "loss"]] == [
        row["loss"] for row in document["training"]["losses"]
    ]
    validation = page.tables["update", "epoch", "accuracy"]
    assert [row[2] for row in validation] == [with_ends(row) for row in document["training"]["validation"]]
    counts = [int(row[2]) for row in page.tables["from, nats", "to", "steps"]]
    assert counts == document["difficulty"]["histogram"]["counts"]
    # Both splits have this heading; the last one on the page is validation.
    found = document["accuracy"]["splits"]["validation"]
    assert page.tables["questions", "accuracy", "asked"] == [
        ["all", with_ends(found), "4"],
        ["2 steps", with_ends(found["by_steps"]["2"]), "4"],
    ]


def test_keypoint_mimicry_is_shown_if_it_was_measured(whole: tuple[dict[str, Any], Parsed], tmp_path: Path) -> None:
    document, page = whole
    assert document["accuracy"]["keypoint_mimicry"] is None
    assert "Keypoint mimicry" not in page.text
    found = {
        "keypoints": "token-type",
        "num_rationales": 9,
        "num_too_long": 2,
        "on_keypoints": {"nll": 0.125, "accuracy": 0.9, "num_tokens": 1234},
        "on_others": {"nll": None, "accuracy": None, "num_tokens": 0},
    }
    run = make_run(tmp_path / "run")
    done = run / "evaluation" / "a1" / "done.json"
    content = read_json(done)
    write_json(done, {**content, "summary": {**content["summary"], "keypoint_mimicry": found}})
    document, page = page_of(run)
    assert document["accuracy"]["keypoint_mimicry"] == found
    assert page.tables["tokens", "loss, nats per token", "likeliest token right", "how many"] == [
        ["keypoints", "0.125", "90.0 %", "1,234"],
        ["all others", "–", "–", "0"],
    ]
    assert "gold rationales of 9 test questions" in page.text
    assert "Keypoints are digits and operators, as the set marks none. 2 longer rationales are left out." in page.text


def test_the_table_of_packages_is_the_documents(whole: tuple[dict[str, Any], Parsed]) -> None:
    document, page = whole
    [rows] = [rows for heading, rows in page.tables.items() if "McNemar p" in heading]
    models = [(package["name"], model) for package in document["packages"] for model in package["models"]]
    assert [row[0] for row in rows] == [f"{name} {model['quantization']}" for name, model in models]
    assert [row[1] for row in rows] == ["lost", "over memory", "undecided", "held", "not evaluated"]
    for row, (_, shown) in zip(rows, models, strict=True):
        assert float(row[7]) == shown["size_mib"]
        if shown["verdict"]:
            verdict = shown["verdict"]
            assert row[2] == with_ends(shown["accuracy"])
            ends = [f"{100 * verdict[key]:+.1f}" for key in ("difference", "low", "high")]
            assert row[3] == "{} [{}, {}]".format(*ends)
            assert row[4] == f"{verdict['lost']} / {verdict['gained']}"
            assert float(row[9]) == shown["speed"]["tokens_per_second"]["p50"]
        else:
            assert row[2:7] == ["–"] * 5
    assert "Not evaluated: f32." in page.text
    assert "q8 did not finish (over memory): more than 100 MiB" in page.text
    budgets = page.tables["model", "budget", "allowed", "measured", "verdict"]
    assert budgets[-1] == ["q8", "peak memory, MiB (at most)", "100", "64.0", "held"]
    assert "not measured" in page.text
    lost = page.tables["question", "model", "step", "the student wrote", "the package wrote"]
    assert lost == [["q7", "q4", "1", "1 + 1 = 2.", "(it ended)"]]
    assert page.tables["model", "step", "lost answers"] == [["q4", "step 1", "3"]]


def test_verdicts_are_explained_once_for_each_margin(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run, "pi")
    add_package(run, "pi-2")
    result = add_package(run, "phone")
    write_json(result, {**read_json(result), "margin": 0.3, "confidence": 0.9, "least_questions": 7})
    _, page = page_of(run)
    assert page.text.count("it loses less than") == 2
    assert "For phone: held means: it loses less than 30 points against the student, at 90 % confidence" in page.text
    assert "For pi, pi-2: held means: it loses less than 2 points against the student, at 95 % confidence" in page.text
    assert page.text.index("7 questions are the fewest") < page.text.index("133 questions are the fewest")


def test_other_questions_and_devices_stand_apart(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run", *PHASES)
    result = add_package(run, "pi", model("q8", "held", 0, 0, 0.9, 80.0))
    stages = model("q8", "lost", 0, 90, 0.9, 80.0)
    asked = {"name": "stages", "n": 7, "sha256": "d" * 64}
    write_json(
        run / "acceptance" / "pi-stages" / "result.json",
        {**read_json(result), "questions": asked, "models": [stages]},
    )
    document, page = page_of(run)
    assert [(package["name"], package["is_other"]) for package in document["packages"]] == [
        ("pi", False),
        ("pi-stages", True),
    ]
    assert "1 of 1" in page.text
    assert page.text.count("pi-stages q8: stages, 7 questions") == 1
    assert "not evaluated" not in page.text


def test_nothing_can_run_or_be_fetched(whole: tuple[dict[str, Any], Parsed]) -> None:
    _, page = whole
    names = {name for name, _ in page.tags}
    assert not names & {"script", "link", "img", "iframe", "object", "form", "base", "video", "audio"}
    policy = next(found["content"] for name, found in page.tags if name == "meta" and found.get("http-equiv"))
    assert str(policy).startswith("default-src 'none'; style-src 'unsafe-inline'")
    for name, found in page.tags:
        assert not any(key.startswith("on") or key in ("src", "srcset", "style") for key in found), (name, found)
        assert str(found.get("href", "#")).startswith("#")
    assert not re.search(
        r"url\(|@import|https?:", Path(render_page.__code__.co_filename).with_name("page.css").read_text()
    )


def test_links_lead_to_a_part_and_ids_are_unique(whole: tuple[dict[str, Any], Parsed]) -> None:
    _, page = whole
    ids = [found["id"] for _, found in page.tags if "id" in found]
    assert len(ids) == len(set(ids))
    assert {str(found["href"])[1:] for _, found in page.tags if "href" in found} <= set(ids)
    for name, found in page.tags:
        if name == "svg":
            assert found["role"] == "img"
            assert set(str(found["aria-labelledby"]).split()) <= set(ids)


def test_keypoints_do_not_depend_on_colour_alone() -> None:
    scale = {"least": 0.1, "greatest": 0.9, "upper_quarter": 0.7}
    assert paint({"text": " 48", "weight": 0.7}, scale) == ' <b class="w5" title="0.70">48</b>'
    assert paint({"text": " of", "weight": 0.1}, scale) == ' <span class="w0" title="0.10">of</span>'
    assert 'class="w7"' in paint({"text": "=", "weight": 0.9}, scale)
    assert paint({"text": " ", "weight": 0.9}, scale) == " "
    flat = {"least": 0.5, "greatest": 0.5, "upper_quarter": 0.5}
    assert paint({"text": "x", "weight": 0.5}, flat) == '<b class="w0" title="0.50">x</b>'


def test_white_space_around_a_step_is_left_out() -> None:
    pieces = [{"text": "\n ", "weight": None}, {"text": " So", "weight": 0.1}, {"text": ".\n", "weight": 0.2}]
    assert [piece["text"] for piece in trim(pieces)] == ["So", "."]
    assert trim([{"text": " ", "weight": None}]) == []
    assert pieces[1]["text"] == " So", "the document keeps the text as it is"


def test_hostile_text_stays_text(tmp_path: Path) -> None:
    run = make_run(tmp_path / HOSTILE.replace("/", "-"), text=HOSTILE, name=HOSTILE)
    add_package(run, "<b>pi", model("<i>q4</i>", "held", 0, 0, 1.0, 5.0))
    document, page = page_of(run)
    assert document["examples"]["examples"][0]["question"] == HOSTILE
    assert not {name for name, _ in page.tags} & {"script", "img", "i"}
    assert HOSTILE in "".join(page.words)
    assert "<i>q4</i>" in page.text
    rendered = render_page(document, "<x>.json")
    assert "<script" not in rendered
    assert rendered.count("</style>") == 1


def test_missing_parts_are_told(tmp_path: Path) -> None:
    document, page = page_of(make_run(tmp_path / "run", *PHASES[:2]))
    assert "This run is not finished (partial)" in page.text
    for part, (name, title) in TITLES.items():
        assert title in page.text
        assert any(found.get("id") == name for _, found in page.tags)
        if part in document["absent"]:
            assert f"Not in this report: {document['absent'][part]}." in page.text
    assert "They carry no colour" in page.text


def test_a_run_without_questions_to_ask_has_no_accuracy(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    document = build_document(load_run(run))
    document["accuracy"]["splits"] = {}
    document["training"] |= {
        "losses": [],
        "validation": [],
        "epochs": [],
        "best_checkpoint_update": None,
        "updates": None,
    }
    page = parse(render_page(document, "report.json"))
    assert "There were no questions to ask." in page.text


def test_the_same_run_gives_the_same_bytes(tmp_path: Path) -> None:
    run = make_run(tmp_path / "run")
    add_package(run)
    pages = [render_page(build_document(load_run(run)), "report.json") for _ in range(2)]
    assert pages[0] == pages[1]
    assert len(pages[0]) < 300_000


def test_text_is_escaped_unless_it_is_markup() -> None:
    assert (
        tag("p", "1 < 2", None, ["&", Markup("<b>x</b>")], title='"') == '<p title="&quot;">1 &lt; 2&amp;<b>x</b></p>'
    )
    assert tag("meta", name="a", http_equiv="b") == '<meta name="a" http-equiv="b">'
    assert tag("rect", x=1.0, width=2.345, hidden=False, class_=None) == '<rect x="1" width="2.35"></rect>'
    assert join(["<", Markup("<")]) == "&lt;<"
    assert 'class="num">1,234' in table(("a", "b"), [("x", "1,234"), ("y", "–")])
    assert "num" not in table(("a", "b"), [("x", "1,234"), ("y", "many")])
    assert 'class="long"' in table(("a", "b"), [("x", "word " * 20)])


def test_writing_is_whole_or_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    document = build_document(load_run(make_run(tmp_path / "run")))
    output = tmp_path / "new" / "folder" / "page.html"
    assert write_report(document, output) == output.with_suffix(".json")
    assert read_json(output.with_suffix(".json")) == document
    before = output.read_bytes()
    document["provenance"]["recipe"] = object()
    with pytest.raises(TypeError):
        write_report(document, output)
    assert output.read_bytes() == before
    assert [path.name for path in output.parent.iterdir() if path.suffix == ".partial"] == []


def test_places_that_cannot_be_written_to(tmp_path: Path) -> None:
    document = build_document(load_run(make_run(tmp_path / "run")))
    with pytest.raises(UsageError, match="is a folder, expected the name of a page"):
        write_report(document, tmp_path)
    with pytest.raises(UsageError, match=r"expected the name of a page, such as page\.html"):
        check_output(tmp_path / "page.json")
    with pytest.raises(UsageError, match=r"manifest\.json is no report's"):
        write_report(document, tmp_path / "run" / "manifest.html")
    (tmp_path / "file").write_text("x")
    with pytest.raises(StorageError, match=r"page\.json could not be read or written"):
        write_report(document, tmp_path / "file" / "page.html")
    assert read_json(tmp_path / "run" / "manifest.json")["format"] == 1


def weights_part(**changes: Any) -> dict[str, Any]:
    reading = {"whole_nll": 1.5, "whole_accuracy": 0.5, "prefix_nll": 2.5, "keep_share": 0.4}
    masks = {
        "learnt": reading,
        "random": reading,
        "beats_random": True,
        "prefix_nll_under_random": 2.125,
        "prefix_nll_standard_error": 0.125,
    }
    part = {
        "kinds": [],
        "history": [],
        "parts": {},
        "masks": masks,
        "num_tokens": 1234,
        "mean_token_weight": 0.4,
        "method": "mask-learning",
        "keypoints_over_function_words": 0.97,
        "keypoints_over_others": 0.92,
        "frequency": {"rank_correlation": -0.25, "bands": []},
    }
    return part | changes


def test_the_weights_section_says_how_they_compare() -> None:
    page = str(weights_section(weights_part(), "weighting/x"))
    assert (
        "outweighs a random other token with probability 0.920 and a random function word with probability 0.970"
        in page
    )
    assert "how often it occurs is -0.250" in page
    assert "lower by 2.12 nats per target (standard error 0.125)" in page


def test_the_weights_section_compares_them_with_marked_keypoints() -> None:
    known = {
        "num_rationales": 3,
        "num_keypoints": 7,
        "separation": {"over_all": 0.875, "among_numbers": 0.75},
        "token_type_separation": {"over_all": 0.9375, "among_numbers": 0.5},
        "frequency": {"rank_correlation": 0.125, "bands": []},
    }
    page = str(weights_section(weights_part(known_keypoints=known), "weighting/x"))
    said = "keypoint outweighs a random other token with probability 0.875 (by its type alone: 0.938) and a random other number"
    assert said in page
    assert "if it is one itself with probability 0.750 (by its type alone: 0.500)" in page
    assert "Among marked keypoints alone, weight and frequency correlate at 0.125." in page
    for unmarked in (weights_part(known_keypoints=None), weights_part()):
        assert "marked" not in str(weights_section(unmarked, "weighting/x"))
    alone = {**known, "separation": {"over_all": 0.875, "among_numbers": None}, "frequency": None}
    page = str(weights_section(weights_part(known_keypoints=alone), "weighting/x"))
    assert "0.875" in page
    assert "if it is one itself" not in page
    assert "marked keypoints alone" not in page


def test_weights_without_a_mask_have_no_mask_to_judge() -> None:
    bare = weights_part(masks=None, frequency=None, keypoints_over_others=None, keypoints_over_function_words=None)
    page = str(weights_section(bare, "weighting/x"))
    assert "The mean weight of 1,234 tokens is 0.400." in page
    assert "held-out" not in page
    assert "outweighs" not in page
    assert "how often" not in page
