"""What tests of the page in the browser share: the page built afresh, packages beside it, a server, a browser."""

from __future__ import annotations

import functools
import json
import os
import shutil
import subprocess
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from typing import Any

import pytest
from exporting import RUNNERS

from kpodx.artifacts import hash_path, read_json, write_json

WEB = RUNNERS / "web"


def build_page(folder: Path) -> Path:
    """The page as its own build makes it; the test skips where Node or its modules are absent."""
    if shutil.which("node") is None:
        pytest.skip("Node is not installed")
    if not (WEB / "node_modules").is_dir():
        pytest.skip("the page's modules are not there: npm ci --ignore-scripts in export/runners/web")
    subprocess.run(["node", str(WEB / "build.mjs"), str(folder)], check=True, capture_output=True)
    return folder


def chromium() -> str:
    """Where Chromium is; the test skips where it is not."""
    found = next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)
    if found is None:
        pytest.skip("Chromium is not installed")
    return found


def make_site(folder: Path, page: Path, package: Path) -> Path:
    """A folder to serve: the page, and a copy of a package that a test may damage."""
    shutil.copytree(page, folder, copy_function=os.link)
    shutil.copytree(package, folder / "package")
    return folder


def sign_again(package: Path, **changes: Any) -> None:
    """Let the manifest list the files as they are now, with `changes` in the manifest itself."""
    manifest = read_json(package / "package.json")
    files = {
        name: {"size": (package / name).stat().st_size, "sha256": hash_path(package / name)}
        for name in manifest["files"]
    }
    write_json(package / "package.json", {**manifest, "files": files, **changes})


class _Quiet(SimpleHTTPRequestHandler):
    """Serves files. A file whose name is in the server's `silent` is begun, and never goes on while the server lives."""

    def log_message(self, *_arguments: object) -> None:
        pass

    def copyfile(self, source: Any, outputfile: Any) -> None:
        if Path(self.path).name in self.server.silent:  # type: ignore[attr-defined]
            outputfile.write(source.read(16))
            outputfile.flush()
            self.server.closing.wait(60)  # type: ignore[attr-defined]
            return
        super().copyfile(source, outputfile)


@contextmanager
def serve(folder: Path, silent: tuple[str, ...] = ()) -> Iterator[str]:
    """The address of a server of a folder, on a free port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(folder)))
    server.silent, server.closing = frozenset(silent), threading.Event()  # type: ignore[attr-defined]
    server.daemon_threads = True
    thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.05}, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_port}/"
    finally:
        server.closing.set()  # type: ignore[attr-defined]
        server.shutdown()
        server.server_close()
        thread.join()


def lines_of(questions: list[str]) -> str:
    """Questions as run.py reads them."""
    return "".join(json.dumps({"question": question}) + "\n" for question in questions)
