"""Billed tokens as every provider reports them."""

from __future__ import annotations

import json
import math
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.rationales.requests import Usage
from kpodx.rationales.usage import read_usage

REPORTS: dict[str, tuple[dict[str, Any], Usage | None]] = {
    "OpenAI": ({"usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 110}}, Usage(50, 60)),
    "OpenAI, reasoning within": (
        {"usage": {"prompt_tokens": 5, "completion_tokens": 60, "completion_tokens_details": {"reasoning_tokens": 40}}},
        Usage(5, 60),
    ),
    "reasoning in the total only": (
        {"usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 5110}},
        Usage(50, 5060),
    ),
    "reasoning beyond, no total": (
        {
            "usage": {
                "prompt_tokens": 50,
                "completion_tokens": 60,
                "completion_tokens_details": {"reasoning_tokens": 5000},
            }
        },
        Usage(50, 5060),
    ),
    "reasoning beyond, and a total": (
        {
            "usage": {
                "prompt_tokens": 50,
                "completion_tokens": 60,
                "total_tokens": 5110,
                "completion_tokens_details": {"reasoning_tokens": 5000},
            }
        },
        Usage(50, 5060),
    ),
    "xAI, reasoning beside in the total": (
        {
            "usage": {
                "prompt_tokens": 10,
                "completion_tokens": 300,
                "total_tokens": 510,
                "completion_tokens_details": {"reasoning_tokens": 200},
            }
        },
        Usage(10, 500),
    ),
    "reasoning on top": ({"usage": {"prompt_tokens": 5, "completion_tokens": 6, "reasoning_tokens": 70}}, Usage(5, 76)),
    "Gemini's own": (
        {
            "usageMetadata": {
                "promptTokenCount": 5,
                "candidatesTokenCount": 6,
                "thoughtsTokenCount": 4,
                "totalTokenCount": 15,
            }
        },
        Usage(5, 10),
    ),
    "Gemini, thoughts only": ({"usageMetadata": {"promptTokenCount": 5, "thoughtsTokenCount": 40}}, Usage(5, 40)),
    "Anthropic's own": ({"usage": {"input_tokens": 5, "output_tokens": 6}}, Usage(5, 6)),
    "Anthropic with its cache": (
        {
            "usage": {
                "input_tokens": 5,
                "cache_creation_input_tokens": 100,
                "cache_read_input_tokens": 1000,
                "output_tokens": 6,
            }
        },
        Usage(1105, 6),
    ),
    "OpenAI's cache is within": (
        {"usage": {"prompt_tokens": 1105, "completion_tokens": 6, "prompt_tokens_details": {"cached_tokens": 1000}}},
        Usage(1105, 6),
    ),
    "Responses API": (
        {"usage": {"input_tokens": 5, "output_tokens": 60, "output_tokens_details": {"reasoning_tokens": 50}}},
        Usage(5, 60),
    ),
    "Bedrock": ({"usage": {"inputTokens": 5, "outputTokens": 6, "totalTokens": 11}}, Usage(5, 6)),
    "Ollama's own": ({"prompt_eval_count": 5, "eval_count": 6}, Usage(5, 6)),
    "Groq in a stream": ({"x_groq": {"usage": {"prompt_tokens": 5, "completion_tokens": 6}}}, Usage(5, 6)),
    "in a choice": ({"choices": [{"usage": {"prompt_tokens": 5, "completion_tokens": 6}}]}, Usage(5, 6)),
    "a list": (
        {"usage": [{"prompt_tokens": 5, "completion_tokens": 1}, {"prompt_tokens": 5, "completion_tokens": 6}]},
        Usage(5, 6),
    ),
    "texts": ({"usage": {"prompt_tokens": "50", "completion_tokens": " 60 ", "total_tokens": "110"}}, Usage(50, 60)),
    "floats": ({"usage": {"prompt_tokens": 50.0, "completion_tokens": 59.2}}, Usage(50, 60)),
    "only a total": ({"usage": {"total_tokens": 110}}, Usage(0, 110)),
    "the rest in the total": (
        {"usage": {"prompt_tokens": 50, "completion_tokens": None, "total_tokens": 110}},
        Usage(50, 60),
    ),
    "a total that is too small": (
        {"usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 7}},
        Usage(50, 60),
    ),
    "an absurd total": (
        {"usage": {"prompt_tokens": 50, "completion_tokens": 60, "total_tokens": 10**30}},
        Usage(50, 60),
    ),
    "nothing": ({}, None),
    "null": ({"usage": None}, None),
    "nulls": ({"usage": {"prompt_tokens": None, "completion_tokens": None, "total_tokens": 0}}, None),
    "one side": ({"usage": {"prompt_tokens": 50}}, None),
    "negative": ({"usage": {"prompt_tokens": -5, "completion_tokens": -6}}, None),
    "absurd": ({"usage": {"prompt_tokens": 10**30, "completion_tokens": 1}}, None),
    "no number": ({"usage": {"prompt_tokens": "many", "completion_tokens": True}}, None),
    "infinite": ({"usage": {"prompt_tokens": math.inf, "completion_tokens": math.nan}}, None),
    "zeros for a text": ({"usage": {"prompt_tokens": 0, "completion_tokens": 0, "total_tokens": 0}}, None),
    "a text of no tokens": ({"usage": {"prompt_tokens": 50, "completion_tokens": 0}}, None),
}


@pytest.mark.parametrize(("document", "expected"), REPORTS.values(), ids=REPORTS.keys())
def test_reports(document: dict[str, Any], expected: Usage | None) -> None:
    assert read_usage(document, has_text=True) == expected


def test_an_empty_answer_may_cost_its_prompt_alone() -> None:
    assert read_usage({"usage": {"prompt_tokens": 50, "completion_tokens": 0}}, has_text=False) == Usage(50, 0)


NAMES = ("prompt_tokens", "completion_tokens", "total_tokens", "reasoning_tokens", "input_tokens", "thoughtsTokenCount")
FIGURES = st.none() | st.integers(-5, 10**12) | st.floats() | st.text("0123456789.e-", max_size=6) | st.booleans()


@given(st.dictionaries(st.sampled_from(NAMES), FIGURES))
@settings(max_examples=300, deadline=None)
def test_no_report_is_read_as_less_than_it_says(block: dict[str, Any]) -> None:
    usage = read_usage(json.loads(json.dumps({"usage": block})), has_text=True)
    if usage is None:
        return
    billed = usage.prompt_tokens + usage.completion_tokens
    figures = [v for v in block.values() if isinstance(v, int) and not isinstance(v, bool) and 0 <= v <= 10**9]
    assert billed >= max(figures, default=0)
    assert min(usage.prompt_tokens, usage.completion_tokens) >= 0
