"""The page in a real browser: the runner's own token ids, steps that stream, no network, and mistakes told in words."""

from __future__ import annotations

import hashlib
import json
import re
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from exporting import RUNNERS, export, run_it
from tiny_models import make_tiny_llama, make_tiny_t5
from web_site import build_page, chromium, lines_of, make_site, serve, sign_again

from kpodx.artifacts import read_json, write_json
from kpodx.cli.export import generated_questions
from kpodx.text.steps import step_texts

onnx = pytest.importorskip("onnx", reason="onnx is not installed")
pytest.importorskip("onnxruntime", reason="onnxruntime is not installed")
sync_api = pytest.importorskip("playwright.sync_api", reason="playwright is not installed")

QUESTION = "Tom has 3 boxes of 12 eggs and breaks 5. How many eggs are left?"
ODD_QUESTIONS = ["a  b   c", "1,204.5 % of 3", "Ünïcode — „quotes“ 🙂?", "$& {question} </s> <pad>"]
TOKENS = 16
ASK_ALL = """async ([model, questions, maxNewTokens]) => {
  const { Reasoner } = await import("./reasoner.js");
  const reasoner = new Reasoner("./package/");
  await reasoner.open();
  await reasoner.load(model);
  const answers = [];
  for (const question of questions) answers.push(await reasoner.ask(question, () => {}, { maxNewTokens }));
  return answers;
}"""
LOAD_ALL = """async (packages) => {
  const { Reasoner } = await import("./reasoner.js");
  const load = async (name) => {
    const reasoner = new Reasoner(name);
    const { models } = await reasoner.open();
    await reasoner.load(models[0].name);
    return "";
  };
  const said = [];
  for (const name of packages) said.push(await load(name).catch((problem) => problem.message));
  return said;
}"""
LOAD_WHILE_ASKING = """async ([model, question]) => {
  const { Reasoner } = await import("./reasoner.js");
  const reasoner = new Reasoner("./package/");
  await reasoner.load(model);
  const asked = reasoner.ask(question).then(() => "answered", (problem) => problem.message);
  await reasoner.load(model);
  const late = new Promise((resolve) => setTimeout(resolve, 1000, "nothing"));
  const { tokens } = await reasoner.ask(question);
  return [await Promise.race([asked, late]), tokens.length];
}"""
FULL_STORAGE = """() => {
  Cache.prototype.put = async () => {
    throw new DOMException("full", "QuotaExceededError");
  };
}"""
ASK_AND_STOP = """() => {
  document.getElementById("form").requestSubmit();
  setTimeout(() => document.getElementById("stop").click());
}"""
STEPS = """async (texts) => {
  const { stepTexts } = await import("./steps.js");
  return texts.map(stepTexts);
}"""
DIGESTS = """async (lengths) => {
  const { sha256InScript } = await import("./sha256.js");
  const bytes = (length) => Uint8Array.from({ length }, (_, i) => (i * 7) % 251);
  return lengths.map((length) => [...sha256InScript(bytes(length))]);
}"""
WATCH = """() => {
  window.seen = [];
  new MutationObserver(() => {
    const text = document.querySelector("article .steps")?.textContent ?? "";
    if (text && text !== window.seen.at(-1)) window.seen.push(text);
  }).observe(document.getElementById("answers"), { subtree: true, childList: true, characterData: true });
}"""
TEXTS = [
    "He pays $3.50. Mr. Lee pays 2. It is 7 a.m. and J. Smith sleeps.",
    "1. Add: 3 + 4 = 7.\n2. Take 2. = 5\n\nTherefore, the answer is 5.",
    "Wait… what? No. 5 is it! \"Yes.\" she said. 'So.' He left.",
    "Plan B. Then 5 ft. long, e.g. No. That is wrong. The answer is 1.2.",
    "...",
    "",
    " . a. b",
]


@pytest.fixture(scope="module")
def page_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return build_page(tmp_path_factory.mktemp("page") / "dist")


@pytest.fixture(scope="module")
def browser(page_files: Path) -> Iterator[Any]:
    # In a container the process is root, and its sandbox cannot be had. Making the WebAssembly fast takes longer than these tests.
    with sync_api.sync_playwright() as playwright:
        found = playwright.chromium.launch(
            executable_path=chromium(), args=["--no-sandbox", "--js-flags=--liftoff-only --wasm-lazy-compilation"]
        )
        yield found
        found.close()


@pytest.fixture(scope="module")
def t5_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A T5's package in f32, int8, and blocks of 4 bits whose products leave their inputs float32, as the browser's do."""
    folder = tmp_path_factory.mktemp("t5")
    student = make_tiny_t5(folder / "student", layers=2, seed=3)
    export(student, folder / "package", "onnx", "f32", "int8", "q4")
    for path in (folder / "package" / "onnx").glob("*_q4.onnx"):
        _leave_inputs(path)
    sign_again(folder / "package")
    return folder / "package"


@pytest.fixture(scope="module")
def llama_package(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("llama")
    export(make_tiny_llama(folder / "student", seed=3), folder / "package", "onnx", "f32")
    return folder / "package"


@pytest.fixture
def open_page(browser: Any) -> Iterator[Any]:
    """Opens an address in a browser that remembers nothing; at the end no request may have left the server."""
    contexts, requests, origins = [], [], []

    def open_address(address: str, **settings: Any) -> Any:
        # A service worker fetches all of the page once more.
        context = browser.new_context(**{"service_workers": "block", **settings})
        # Where everything else runs on the same core, all takes its time.
        context.set_default_timeout(90_000)
        contexts.append(context)
        origins.append("/".join(address.split("/")[:3]) + "/")
        context.on("request", lambda request: requests.append(request.url))
        page = context.new_page()
        page.goto(address)
        return page

    yield open_address
    for context in contexts:
        context.close()
    assert requests
    assert [url for url in requests if not url.startswith(tuple(origins))] == []


def _leave_inputs(path: Path) -> None:
    from kpodx.export.onnx_graph import graphs

    model = onnx.load(path, load_external_data=False)
    for graph in graphs(model):
        for node in graph.node:
            for attribute in node.attribute:
                if attribute.name == "accuracy_level":
                    attribute.i = 0
    onnx.save(model, path)


def wait_ready(page: Any) -> None:
    page.locator("#status", has_text="Ready").wait_for()


def ask(page: Any, question: str = QUESTION) -> Any:
    """Ask through the page; the answer's element once it is complete."""
    before = page.locator("article").count()
    page.fill("#question", question)
    page.press("#question", "Enter")
    page.wait_for_function("count => document.querySelectorAll('article').length > count", arg=before)
    answer = page.locator("article").first
    page.locator("article:first-child[data-tokens]").wait_for()
    return answer


def problem_of(page: Any) -> str:
    page.locator("#problem").wait_for()
    return str(page.inner_text("#problem"))


@pytest.mark.parametrize(
    ("kind", "models"),
    [
        ("t5", [f"onnx/decoder_model_merged{suffix}.onnx" for suffix in ("", "_int8", "_q4")]),
        ("llama", ["onnx/model.onnx"]),
    ],
)
def test_the_page_says_what_the_runner_says(
    tmp_path: Path, page_files: Path, request: pytest.FixtureRequest, open_page: Any, kind: str, models: list[str]
) -> None:
    package = request.getfixturevalue(f"{kind}_package")
    questions = [*generated_questions(16), *ODD_QUESTIONS]
    keys = ("question", "prompt_tokens", "tokens", "output")
    with serve(make_site(tmp_path / "site", page_files, package)) as address:
        # Any page of the server will do: this one loads no model by itself.
        page = open_page(address + "steps.js")
        for model in models:
            arguments = ("--model", str(package / model), "--threads", "1", "--max-new-tokens", str(TOKENS))
            ran = run_it(RUNNERS / "onnxruntime" / "run.py", *arguments, text=lines_of(questions))
            assert ran.returncode == 0, ran.stderr
            expected = [[json.loads(line)[key] for key in keys] for line in ran.stdout.splitlines()]
            assert len(expected) == 20
            assert any(tokens for _, _, tokens, _ in expected)
            said = page.evaluate(ASK_ALL, [model, questions, TOKENS])
            assert [[answer[key] for key in keys] for answer in said] == expected, model


def test_steps_stream_in(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address)
        wait_ready(page)
        page.evaluate(WATCH)
        answer = ask(page)
        seen = page.evaluate("window.seen")
        assert len(seen) > 3
        assert seen == sorted(seen, key=len)
        output = " ".join(answer.locator("li").all_inner_texts())
        assert output.split() == seen[-1].split() or "".join(output.split()) == "".join(seen[-1].split())
        assert "tokens/s" in answer.locator(".figures").inner_text()
        assert page.evaluate("document.activeElement.id") == "question"


def test_stop_keeps_what_there_is(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    settings = read_json(site / "package" / "generation_config.json")
    write_json(site / "package" / "generation_config.json", {**settings, "eos_token_id": 10**6})
    sign_again(site / "package")
    with serve(site) as address:
        page = open_page(address)
        wait_ready(page)
        assert len(ask(page).get_attribute("data-tokens").split()) == 256
        page.fill("#question", QUESTION)
        # In the same breath: else a fast machine could be done before the click.
        page.evaluate(ASK_AND_STOP)
        page.locator("article").nth(1).wait_for()
        answer = page.locator("article:first-child[data-tokens]")
        assert answer.locator(".figures").inner_text().startswith("stopped")
        assert 1 <= len(answer.get_attribute("data-tokens").split()) < 256


def test_a_second_visit_needs_no_network(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address, service_workers="allow")
        page.locator("#offline", has_text="Kept on this device").wait_for()
        tokens = ask(page).get_attribute("data-tokens")
    # The server is gone, and the browser has no network besides.
    page.context.set_offline(True)
    page.reload()
    wait_ready(page)
    assert ask(page).get_attribute("data-tokens") == tokens


def test_a_new_package_takes_the_old_ones_place(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    with serve(site) as address:
        page = open_page(address, service_workers="allow")
        page.locator("#offline", has_text="Kept on this device").wait_for()
        count = "async () => (await (await caches.open('kpodx-packages')).keys()).length"
        before = page.evaluate(count)
        config = read_json(site / "package" / "config.json")
        write_json(site / "package" / "config.json", {**config, "kpodx_prompt": "{question} and so on"})
        sign_again(site / "package", name="another")
        page.reload()
        wait_ready(page)
        assert "another" in page.title()
        assert page.evaluate(count) == before


def test_full_storage_takes_only_the_visit_without_a_network(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    worker = site / "worker.js"
    content = worker.read_text()
    # It is a link to the file of all tests.
    worker.unlink()
    worker.write_text(f"({FULL_STORAGE})();\n{content}")
    with serve(site) as address:
        page = open_page(address, service_workers="allow")
        wait_ready(page)
        ask(page)
        assert page.locator("#problem").is_hidden()
        assert "Kept on this device" not in page.inner_text("#offline")


def test_another_model_ends_the_answer_at_hand(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address + "steps.js")
        said, tokens = page.evaluate(LOAD_WHILE_ASKING, ["onnx/decoder_model_merged.onnx", QUESTION])
    assert said == "Stopped."
    assert tokens > 0


def test_it_fits_a_phone(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    def check() -> None:
        assert page.evaluate("document.documentElement.scrollWidth") <= 360
        for control in page.locator("button:visible, select:visible, textarea:visible").all():
            box = control.bounding_box()
            assert min(box["width"], box["height"]) >= 44, control.evaluate("it => it.outerHTML")

    site = make_site(tmp_path / "site", page_files, t5_package)
    sign_again(site / "package", name="a-very-long-name-" * 20)
    with serve(site) as address:
        screen = {"width": 360, "height": 640}
        page = open_page(address, viewport=screen, has_touch=True, is_mobile=True)
        check()
        wait_ready(page)
        answer = ask(page, "w" * 100)
        check()
        # The answer has the screen.
        assert 0 <= answer.bounding_box()["y"] < 640
        page.fill("#question", "")
        page.tap("#ask")
        assert "question" in problem_of(page)
        check()


def _cut_short(package: Path) -> None:
    path = package / "onnx" / "decoder_model_merged.onnx"
    path.write_bytes(path.read_bytes()[:-100])


def _missing(package: Path) -> None:
    (package / "onnx" / "encoder_model.onnx_data").unlink()


def _no_graph(package: Path) -> None:
    (package / "onnx" / "decoder_model_merged.onnx").write_bytes(b"\x08\xff" * 500)
    sign_again(package)


def _no_tokenizer(package: Path) -> None:
    write_json(package / "tokenizer.json", {"model": None})
    sign_again(package)


def _other_kind(package: Path) -> None:
    sign_again(package, kind="gguf")


def _outside(package: Path) -> None:
    manifest = read_json(package / "package.json")
    first = dict(manifest["models"][0], name="//example.org/onnx/decoder_model_merged.onnx")
    write_json(package / "package.json", {**manifest, "models": [first]})


def _outside_file(package: Path) -> None:
    manifest = read_json(package / "package.json")
    files = {**manifest["files"], "../secret": {"size": 1, "sha256": "0" * 64}}
    write_json(package / "package.json", {**manifest, "files": files})


def _no_json(package: Path) -> None:
    (package / "package.json").write_text("{")


def _no_package(package: Path) -> None:
    (package / "package.json").unlink()


def _wrong_prompt(package: Path) -> None:
    write_json(package / "config.json", {**read_json(package / "config.json"), "kpodx_prompt": "no place"})
    sign_again(package)


DAMAGES = {
    _cut_short: "decoder_model_merged.onnx is cut short",
    _missing: "There is no http",
    _no_graph: "The decoder cannot be loaded",
    _no_tokenizer: "The tokenizer cannot do this",
    _other_kind: "kind gguf, and this page runs onnx",
    _outside: "a model that this page cannot run",
    _outside_file: "a file outside the package",
    _no_json: "package.json is not JSON",
    _no_package: "There is no http",
    _wrong_prompt: "has no {question}",
}


def test_damaged_packages_are_told_in_words(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    for damage in DAMAGES:
        shutil.copytree(t5_package, site / damage.__name__)
        damage(site / damage.__name__)
    with serve(site) as address:
        page = open_page(address + "steps.js")
        said = page.evaluate(LOAD_ALL, [damage.__name__ for damage in DAMAGES])
    for (damage, words), message in zip(DAMAGES.items(), said, strict=True):
        assert words in message, damage.__name__


def test_a_wrong_hash_is_told_on_the_page(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    path = site / "package" / "onnx" / "decoder_model_merged.onnx"
    content = bytearray(path.read_bytes())
    content[-1] ^= 1
    path.write_bytes(content)
    with serve(site) as address:
        page = open_page(address)
        assert "decoder_model_merged.onnx is not the file that the package lists: its SHA-256 is" in problem_of(page)
        page.select_option("#model", "onnx/decoder_model_merged_q4.onnx")
        ask(page)


def test_a_question_that_is_too_long_is_told_and_the_next_one_answered(
    tmp_path: Path, page_files: Path, llama_package: Path, open_page: Any
) -> None:
    with serve(make_site(tmp_path / "site", page_files, llama_package)) as address:
        page = open_page(address)
        wait_ready(page)
        page.fill("#question", "eggs " * 600)
        page.click("#ask")
        assert "the context holds 512" in problem_of(page)
        ask(page)
        assert page.locator("#problem").is_hidden()


def test_a_package_cannot_write_into_the_page(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    site = make_site(tmp_path / "site", page_files, t5_package)
    markup = "<img src=x onerror='window.broken=1'>"
    models = read_json(site / "package" / "package.json")["models"]
    sign_again(site / "package", name=markup, models=[{**model, "quantization": markup} for model in models])
    with serve(site) as address:
        page = open_page(address)
        wait_ready(page)
        answer = ask(page, markup)
        assert answer.locator("h2").inner_text() == markup
        assert markup in page.inner_text("#about")
        assert page.locator("img").count() == 0
        assert page.evaluate("window.broken") is None


def test_a_package_elsewhere_is_refused(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address + "?package=https://example.org/package/")
        assert "own server, not on https://example.org" in problem_of(page)


def test_a_model_that_the_package_lacks_is_told(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address + "?model=zz")
        assert "There is no model zz in this package; it has f32" in problem_of(page)


def test_a_server_that_falls_silent_can_be_stopped(
    tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any
) -> None:
    silent = ("decoder_model_merged.onnx",)
    with serve(make_site(tmp_path / "site", page_files, t5_package), silent) as address:
        page = open_page(address)
        page.locator("#status", has_text="Loading").wait_for()
        page.click("#stop")
        assert problem_of(page) == "Stopped."
        page.select_option("#model", "onnx/decoder_model_merged_q4.onnx")
        wait_ready(page)
        ask(page)


def test_steps_and_digests_are_pythons(tmp_path: Path, page_files: Path, t5_package: Path, open_page: Any) -> None:
    lengths = [0, 1, 55, 56, 63, 64, 65, 119, 120, 1000]
    with serve(make_site(tmp_path / "site", page_files, t5_package)) as address:
        page = open_page(address)
        assert page.evaluate(STEPS, TEXTS) == [step_texts(text) for text in TEXTS]
        for length, digest in zip(lengths, page.evaluate(DIGESTS, lengths), strict=True):
            content = bytes(i * 7 % 251 for i in range(length))
            assert bytes(digest) == hashlib.sha256(content).digest()


def test_colours_have_contrast() -> None:
    """WCAG 2 wants 4.5 for text, 3 for what marks a control; in the light scheme and in the dark one."""
    schemes = [
        dict(re.findall(r"--([\w-]+): (#\w+);", part))
        for part in (RUNNERS / "web" / "site" / "style.css").read_text().split("@media (prefers-color-scheme: dark)")
    ]
    for colours in schemes:
        for text in ("ink", "soft", "accent", "wrong"):
            for ground in ("ground", "card"):
                assert contrast(colours[text], colours[ground]) >= 4.5, (text, ground)
        assert min(contrast(colours[text], colours["glow"]) for text in ("ink", "soft")) >= 4.5
        assert contrast(colours["on-accent"], colours["accent"]) >= 4.5
        assert contrast(colours["line"], colours["card"]) >= 3


def contrast(first: str, second: str) -> float:
    """The contrast ratio of two colours, as WCAG 2 defines it.

    >>> round(contrast("#fff", "#000000"), 3)
    21.0
    """

    def luminance(colour: str) -> float:
        digits = colour[1:] if len(colour) == 7 else "".join(2 * digit for digit in colour[1:])
        parts = [int(digits[i : i + 2], 16) / 255 for i in (0, 2, 4)]
        red, green, blue = (part / 12.92 if part <= 0.04045 else ((part + 0.055) / 1.055) ** 2.4 for part in parts)
        return 0.2126 * red + 0.7152 * green + 0.0722 * blue

    darker, lighter = sorted((luminance(first), luminance(second)))
    return (lighter + 0.05) / (darker + 0.05)
