"""Does a package say the same in a browser as through run.py, and how fast is it there? One line a model.

    make web
    python benchmarks/browser.py PACKAGE --questions questions.jsonl --count 20

Chromium, without a window, runs the page of export/runners/web, one thread, as it does for anybody; run.py has one thread, too. A model
in blocks is also run with float32 inputs in Python (accuracy_level 0), which is what WebAssembly computes whatever the level.
Needs playwright and Chromium.
"""

from __future__ import annotations

import argparse
import functools
import json
import shutil
import subprocess
import sys
import tempfile
import threading
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

from kpodx.cli.export import generated_questions
from kpodx.config import shipped

PAGE = shipped("export") / "runners" / "web" / "dist"
RUNNER = shipped("export") / "runners" / "onnxruntime" / "run.py"
ASK = """async ([model, questions, maxNewTokens]) => {
  const { Reasoner } = await import("./reasoner.js");
  const reasoner = new Reasoner("./package/");
  await reasoner.open();
  await reasoner.load(model);
  await reasoner.ask(questions[0], () => {}, { maxNewTokens });
  const answers = [];
  for (const question of questions) answers.push(await reasoner.ask(question, () => {}, { maxNewTokens }));
  return answers;
}"""


class Quiet(SimpleHTTPRequestHandler):
    def log_message(self, *_arguments: object) -> None:
        pass


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("package", type=Path)
    parser.add_argument("--questions", type=Path, help="JSON lines with a question each; of the generator by default")
    parser.add_argument("--count", type=int, default=20)
    parser.add_argument("--max-new-tokens", type=int, default=256)
    arguments = parser.parse_args()
    if not PAGE.is_dir():
        sys.exit(f"there is no {PAGE}: make web")
    questions = generated_questions(arguments.count)
    if arguments.questions:
        lines = arguments.questions.read_text(encoding="utf-8").splitlines()
        questions = [json.loads(line)["question"] for line in lines[: arguments.count]]
    manifest = json.loads((arguments.package / "package.json").read_text(encoding="utf-8"))
    print("| model | MB | ids equal to run.py's | equal with float32 inputs | tokens/s, browser | tokens/s, run.py |")
    print("|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory() as scratch:
        site, exact = Path(scratch) / "site", Path(scratch) / "exact"
        shutil.copytree(PAGE, site)
        shutil.copytree(arguments.package, site / "package")
        shutil.copytree(arguments.package, exact)
        leave_inputs(exact)
        for model in manifest["models"]:
            shown = in_browser(site, model["name"], questions, arguments.max_new_tokens)
            ran = in_python(arguments.package, model["name"], questions, arguments.max_new_tokens)
            other = (
                ""
                if model["quantization"] in ("f32", "int8")
                else in_python(exact, model["name"], questions, arguments.max_new_tokens)
            )
            columns = [
                model["quantization"],
                f"{model['size'] / 1e6:.1f}",
                f"{equal(shown, ran)} of {len(ran)}",
                f"{equal(shown, other)} of {len(other)}" if other else "—",
                f"{speed(shown):.1f}",
                f"{speed(ran):.1f}",
            ]
            print(f"| {' | '.join(columns)} |", flush=True)
    return 0


def leave_inputs(package: Path) -> None:
    """Let all products of blocks leave their inputs float32."""
    import onnx

    from kpodx.export.onnx_graph import graphs

    for path in (package / "onnx").glob("*.onnx"):
        model = onnx.load(path, load_external_data=False)
        levels = [
            attribute
            for graph in graphs(model)
            for node in graph.node
            for attribute in node.attribute
            if attribute.name == "accuracy_level"
        ]
        for attribute in levels:
            attribute.i = 0
        if levels:
            onnx.save(model, path)


def in_python(package: Path, model: str, questions: list[str], max_new_tokens: int) -> list[dict[str, Any]]:
    """The answers of run.py."""
    command = [sys.executable, str(RUNNER), "--model", str(package / model), "--threads", "1"]
    text = "".join(json.dumps({"question": question}) + "\n" for question in questions)
    command += ["--max-new-tokens", str(max_new_tokens)]
    ran = subprocess.run(command, input=text, capture_output=True, text=True, check=True)
    return [json.loads(line) for line in ran.stdout.splitlines()]


def in_browser(site: Path, model: str, questions: list[str], max_new_tokens: int) -> list[dict[str, Any]]:
    """The answers of the page, after one that is not counted."""
    from playwright.sync_api import sync_playwright

    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    found = shutil.which("chromium") or shutil.which("google-chrome")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=found, args=["--no-sandbox"])
        page = browser.new_page()
        page.set_default_timeout(0)
        page.goto(f"http://127.0.0.1:{server.server_port}/steps.js")
        answers: list[dict[str, Any]] = page.evaluate(ASK, [model, questions, max_new_tokens])
        browser.close()
    server.shutdown()
    server.server_close()
    return answers


def equal(first: list[dict[str, Any]], second: list[dict[str, Any]]) -> int:
    """How many answers have the same token ids."""
    return sum(one["tokens"] == other["tokens"] for one, other in zip(first, second, strict=True))


def speed(answers: list[dict[str, Any]]) -> float:
    """Tokens a second over all answers, the first token's time included."""
    return sum(len(answer["tokens"]) for answer in answers) / sum(answer["seconds"] for answer in answers)


if __name__ == "__main__":
    sys.exit(main())
