"""The commit of a checkout is read from files; nothing that a stranger's folder can configure ever runs."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

from kpodx.git_revision import git_revision
from kpodx.runs import describe_environment

Git = Callable[..., str]


@pytest.fixture
def git(tmp_path: Path) -> Git:
    """A checkout in `tmp_path / "checkout"` with one commit, and the command that works on it."""
    folder = tmp_path / "checkout"
    folder.mkdir()

    def run(*arguments: str) -> str:
        identity = ["-c", "user.name=n", "-c", "user.email=e@example.org"]
        command = ["git", *identity, "-C", str(folder), *arguments]
        return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()

    run("init", "-q", "-b", "main")
    (folder / "recipe.toml").write_text("seed = 1")
    run("add", ".")
    run("commit", "-q", "-m", "one")
    return run


def test_the_commit_is_found_from_any_folder_inside(tmp_path: Path, git: Git) -> None:
    inner = tmp_path / "checkout" / "recipes" / "mine"
    inner.mkdir(parents=True)
    assert git_revision(tmp_path / "checkout") == git("rev-parse", "HEAD")
    assert git_revision(inner) == git("rev-parse", "HEAD")


def test_outside_of_a_checkout_and_before_the_first_commit_there_is_none(tmp_path: Path) -> None:
    assert git_revision(tmp_path) is None
    subprocess.run(["git", "init", "-q", str(tmp_path)], check=True)
    assert git_revision(tmp_path) is None


@pytest.mark.parametrize(
    "arguments",
    [("pack-refs", "--all"), ("checkout", "-q", "--detach"), ("symbolic-ref", "HEAD", "refs/heads/other/branch")],
)
def test_packed_detached_and_renamed_heads(tmp_path: Path, git: Git, arguments: tuple[str, ...]) -> None:
    git("branch", "other/branch")
    expected = git("rev-parse", "HEAD")
    git(*arguments)
    assert git_revision(tmp_path / "checkout") == expected


@pytest.mark.parametrize("packed", [False, True])
def test_a_linked_worktree_has_its_own_commit(tmp_path: Path, git: Git, packed: bool) -> None:
    git("worktree", "add", "-q", "-b", "side", str(tmp_path / "linked"))
    git("commit", "-q", "--allow-empty", "-m", "two")
    if packed:
        git("pack-refs", "--all")
    assert git_revision(tmp_path / "linked") == git("rev-parse", "side")
    assert git_revision(tmp_path / "checkout") == git("rev-parse", "main")
    assert git("rev-parse", "side") != git("rev-parse", "main")


def hostile_script(folder: Path) -> tuple[Path, Path]:
    """A command that leaves a mark, and the mark."""
    mark, script = folder / "mark", folder / "evil.sh"
    script.write_text(f"#!/bin/sh\ntouch {mark}\n")
    script.chmod(0o755)
    return script, mark


@pytest.mark.parametrize("setting", ["core.fsmonitor", "core.hooksPath", "filter.x.clean", "core.sshCommand"])
def test_a_checkout_cannot_run_a_command(tmp_path: Path, git: Git, setting: str) -> None:
    script, mark = hostile_script(tmp_path)
    expected = git("rev-parse", "HEAD")
    git("config", setting, str(script))
    (tmp_path / "checkout" / ".gitattributes").write_text("* filter=x\n")
    recipe = tmp_path / "checkout" / "recipe.toml"
    recipe.write_text("seed = 2")

    described = describe_environment(recipe)

    assert described["git"] == {"commit": expected}
    assert not mark.exists()


def test_a_bare_repository_beside_the_recipe_cannot_run_a_command(tmp_path: Path, git: Git) -> None:
    script, mark = hostile_script(tmp_path)
    bare = tmp_path / "checkout" / "downloaded"
    subprocess.run(["git", "init", "-q", "--bare", str(bare)], check=True)
    with (bare / "config").open("a") as stream:
        stream.write(f"[core]\n\tbare = false\n\tworktree = .\n\tfsmonitor = {script}\n")
    (bare / "recipe.toml").write_text("seed = 1")

    described = describe_environment(bare / "recipe.toml")

    assert described["git"] == {"commit": git("rev-parse", "HEAD")}, "the clone's own commit"
    assert not mark.exists()


@pytest.mark.parametrize(
    "head",
    [
        "ref: ../../../../etc/passwd",
        "ref: refs/../../secret",
        "ref: /etc/passwd",
        "ref: refs/heads/.invalid",  # what a repository with another format of refs says
        "ref: refs/heads/main\nanything",
        "root:x:0:0",
        "",
        "\0" * 10_000,
    ],
)
def test_a_head_that_is_not_a_commit_or_a_ref_gives_nothing(tmp_path: Path, head: str) -> None:
    (tmp_path / ".git").mkdir()
    (tmp_path / ".git" / "HEAD").write_text(head)
    (tmp_path / "secret").write_text("a" * 40)
    assert git_revision(tmp_path) is None


def test_refs_that_name_each_other_end(tmp_path: Path) -> None:
    heads = tmp_path / ".git" / "refs" / "heads"
    heads.mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/a\n")
    (heads / "a").write_text("ref: refs/heads/b\n")
    (heads / "b").write_text("ref: refs/heads/a\n")
    assert git_revision(tmp_path) is None


@pytest.mark.timeout(20)
@pytest.mark.parametrize("name", ["HEAD", "refs/heads/main", "packed-refs", "commondir"])
def test_a_pipe_in_place_of_a_file_does_not_block(tmp_path: Path, name: str) -> None:
    (tmp_path / ".git" / "refs" / "heads").mkdir(parents=True)
    (tmp_path / ".git" / "HEAD").write_text("ref: refs/heads/main\n")
    (tmp_path / ".git" / name).unlink(missing_ok=True)
    os.mkfifo(tmp_path / ".git" / name)
    assert git_revision(tmp_path) is None


def test_a_git_file_may_name_a_folder_that_is_not_there(tmp_path: Path) -> None:
    (tmp_path / ".git").write_text("gitdir: nowhere\n")
    assert git_revision(tmp_path) is None
