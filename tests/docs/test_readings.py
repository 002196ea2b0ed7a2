"""The readings that docstrings cite by number are those of docs/method.md."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).resolve().parents[2]


def test_every_cited_reading_is_in_the_table() -> None:
    table = {
        int(number) for number in re.findall(r"^\| (\d+) \|", (ROOT / "docs" / "method.md").read_text(), re.MULTILINE)
    }
    cited = {
        int(number)
        for path in (ROOT / "kpodx").rglob("*.py")
        for number in re.findall(r"reading (\d+(?:\.\d+)?)", path.read_text(encoding="utf-8"))
    }
    assert table == set(range(1, 15))
    assert cited <= table
    assert {3, 4, 9, 10} <= cited
