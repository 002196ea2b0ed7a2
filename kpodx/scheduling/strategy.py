"""The orders in which steps may be released, by name; a module of its own, so that settings need no numpy."""

from __future__ import annotations

from typing import Literal

Strategy = Literal["kpod", "none", "random", "length", "reverse"]
