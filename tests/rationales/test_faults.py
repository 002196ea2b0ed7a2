"""Errors as providers and servers send them: found wherever they are, each with its verdict."""

from __future__ import annotations

import json
import time
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from kpodx.rationales.faults import find_fault, judge_fault, read_fault

STOP_CREDIT, STOP_KEY, STOP_MODEL, STOP_ACCESS = "stop credit", "stop key", "stop model", "stop access"
FILTER, LONG = "reject content_filter", "reject prompt_too_long"


def quoted(document: object) -> str:
    """JSON inside a text, as gateways nest it."""
    return json.dumps(document)


AZURE_FILTER = {
    "message": "The response was filtered due to the prompt triggering Azure OpenAI's content management policy.",
    "type": None,
    "param": "prompt",
    "code": "content_filter",
    "status": 400,
    "innererror": {"code": "ResponsibleAIPolicyViolation", "content_filter_result": {"hate": {"filtered": True}}},
}
GEMINI_LIMIT = {
    "code": 429,
    "message": "You exceeded your current quota, please check your plan and billing details. Please retry in 17.2s.",
    "status": "RESOURCE_EXHAUSTED",
    "details": [
        {"@type": "type.googleapis.com/google.rpc.Help", "links": [{"description": "Learn more", "url": "https://x"}]},
        {"@type": "type.googleapis.com/google.rpc.RetryInfo", "retryDelay": "17s"},
    ],
}
GROQ_LIMIT = (
    "Rate limit reached for model `llama-3.3-70b` in organization `org_1` on tokens per minute (TPM): Limit 6000, Used 3513, "
    "Requested 3166. Please try again in 6.78s. Need more tokens? Upgrade at https://console.groq.com/settings/billing"
)
GROQ_DAY = "Rate limit reached on tokens per day (TPD): Limit 100000. Please try again in 9m38.016s."

CASES: list[tuple[str, int, Any, str, float | None]] = [
    # OpenAI
    (
        "openai key",
        401,
        {"error": {"message": "Incorrect API key provided: sk-x.", "code": "invalid_api_key"}},
        STOP_KEY,
        None,
    ),
    (
        "openai quota",
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan.",
                "code": "insufficient_quota",
            }
        },
        STOP_CREDIT,
        None,
    ),
    (
        "openai quota without a code",
        429,
        {
            "error": {
                "message": "You exceeded your current quota, please check your plan and billing details.",
                "code": None,
            }
        },
        STOP_CREDIT,
        None,
    ),
    (
        "openai limit",
        429,
        {
            "error": {
                "message": "Rate limit reached for gpt-4o. Please try again in 20ms.",
                "code": "rate_limit_exceeded",
            }
        },
        "wait",
        0.02,
    ),
    (
        "openai request above the limit",
        429,
        {
            "error": {
                "message": "Request too large for gpt-4 on tokens per min (TPM): Limit 10000, Requested 20000.",
                "code": "rate_limit_exceeded",
            }
        },
        LONG,
        None,
    ),
    (
        "openai context",
        400,
        {
            "error": {
                "message": "This model's maximum context length is 4097 tokens. Your messages resulted in 6988 tokens.",
                "param": "messages",
                "code": "context_length_exceeded",
            }
        },
        LONG,
        None,
    ),
    (
        "openai model",
        404,
        {
            "error": {
                "message": "The model `gpt-9` does not exist or you do not have access to it.",
                "code": "model_not_found",
            }
        },
        STOP_MODEL,
        None,
    ),
    (
        "openai region",
        403,
        {"error": {"message": "Country not supported", "code": "unsupported_country"}},
        STOP_ACCESS,
        None,
    ),
    ("openai server", 500, {"error": {"message": "The server had an error.", "type": "server_error"}}, "retry", None),
    (
        "openai overload",
        503,
        {"error": {"message": "The engine is currently overloaded, please try again later", "type": "server_error"}},
        "wait",
        None,
    ),
    (
        "openai billing",
        429,
        {
            "error": {
                "message": "Your account is not active, please check your billing details.",
                "code": "billing_not_active",
            }
        },
        STOP_CREDIT,
        None,
    ),
    (
        "openai filter",
        400,
        {"error": {"message": "Invalid prompt: your prompt was flagged as potentially violating our usage policy."}},
        FILTER,
        None,
    ),
    # Azure
    ("azure filter", 400, {"error": AZURE_FILTER}, FILTER, None),
    (
        "azure limit",
        429,
        {"error": {"code": "429", "message": "Requests have exceeded the rate limit. Please retry after 20 seconds."}},
        "wait",
        20.0,
    ),
    (
        "azure deployment",
        404,
        {"error": {"code": "DeploymentNotFound", "message": "The API deployment for this resource does not exist."}},
        STOP_MODEL,
        None,
    ),
    (
        "azure key",
        401,
        {"statusCode": 401, "message": "Access denied due to invalid subscription key."},
        STOP_KEY,
        None,
    ),
    ("azure calls", 403, {"statusCode": 403, "message": "Out of call volume quota."}, STOP_ACCESS, None),
    (
        "github tokens",
        413,
        {"error": {"code": "tokens_limit_reached", "message": "Request body too large."}},
        LONG,
        None,
    ),
    # OpenRouter
    (
        "openrouter upstream",
        200,
        {"error": {"message": "Provider returned error", "code": 429, "metadata": {"raw": "error code: 1015"}}},
        "wait",
        None,
    ),
    (
        "openrouter nested refusal",
        400,
        {
            "error": {
                "message": "Provider returned error",
                "code": 400,
                "metadata": {"raw": quoted({"error": {"message": "too long", "code": "context_length_exceeded"}})},
            }
        },
        LONG,
        None,
    ),
    (
        "openrouter credit",
        402,
        {"error": {"message": "This request requires more credits", "code": 402}},
        STOP_CREDIT,
        None,
    ),
    (
        "openrouter moderation",
        403,
        {"error": {"code": 403, "message": 'model requires moderation on X. Your input was flagged for "violence".'}},
        FILTER,
        None,
    ),
    ("openrouter model", 400, {"error": {"message": "foo/bar is not a valid model ID", "code": 400}}, STOP_MODEL, None),
    ("openrouter key", 401, {"error": {"message": "No auth credentials found", "code": 401}}, STOP_KEY, None),
    (
        "openrouter inside a choice",
        200,
        {
            "choices": [
                {"message": {"content": ""}, "error": {"code": 502, "message": "Upstream idle timeout exceeded"}}
            ]
        },
        "wait",
        None,
    ),
    # Gemini
    ("gemini limit", 429, [{"error": GEMINI_LIMIT}], "wait", 17.0),
    (
        "gemini in a text",
        429,
        {
            "error": {
                "message": quoted({"error": {"code": 429, "status": "RESOURCE_EXHAUSTED", "message": "exhausted"}})
            }
        },
        "wait",
        None,
    ),
    (
        "gemini key",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "API key not valid. Please pass a valid API key.",
                    "status": "INVALID_ARGUMENT",
                }
            }
        ],
        STOP_KEY,
        None,
    ),
    (
        "gemini overload",
        503,
        [
            {
                "error": {
                    "code": 503,
                    "message": "The model is overloaded. Please try again later.",
                    "status": "UNAVAILABLE",
                }
            }
        ],
        "wait",
        None,
    ),
    (
        "gemini context",
        400,
        [
            {
                "error": {
                    "code": 400,
                    "message": "The input token count (1200000) exceeds the maximum number of tokens allowed",
                }
            }
        ],
        LONG,
        None,
    ),
    # Anthropic's compatible endpoint and gateways to it
    (
        "anthropic overload",
        529,
        {"type": "error", "error": {"type": "overloaded_error", "message": "Overloaded"}},
        "wait",
        None,
    ),
    (
        "anthropic credit",
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "Your credit balance is too low to access the API."},
        },
        STOP_CREDIT,
        None,
    ),
    (
        "anthropic context",
        400,
        {
            "type": "error",
            "error": {"type": "invalid_request_error", "message": "prompt is too long: 2 tokens > 1 maximum"},
        },
        LONG,
        None,
    ),
    (
        "anthropic filter",
        400,
        {
            "type": "error",
            "error": {"message": "Output blocked by content filtering policy", "type": "invalid_request_error"},
        },
        FILTER,
        None,
    ),
    # Mistral
    (
        "mistral limit",
        429,
        {"message": "Requests rate limit exceeded", "type": "rate_limited", "code": "1300"},
        "wait",
        None,
    ),
    ("mistral key", 401, {"detail": "Unauthorized"}, STOP_KEY, None),
    (
        "mistral model",
        400,
        {"object": "error", "message": "Invalid model: foo", "type": "invalid_model", "param": None, "code": "1500"},
        STOP_MODEL,
        None,
    ),
    (
        "mistral context",
        400,
        {
            "object": "error",
            "message": "Prompt contains 40000 tokens, too large for model with 32768 maximum context length",
        },
        LONG,
        None,
    ),
    # Together, Groq, DeepSeek, DashScope, MiniMax, Moonshot
    (
        "together context",
        422,
        {"error": {"message": "Input validation error: `inputs` tokens + `max_new_tokens` must be <= 4096."}},
        LONG,
        None,
    ),
    (
        "together overload",
        503,
        {"error": {"message": "The server is overloaded", "type": "service_unavailable"}},
        "wait",
        None,
    ),
    (
        "groq limit",
        429,
        {"error": {"message": GROQ_LIMIT, "type": "tokens", "code": "rate_limit_exceeded"}},
        "wait",
        6.78,
    ),
    (
        "groq day",
        429,
        {"error": {"message": GROQ_DAY, "type": "tokens", "code": "rate_limit_exceeded"}},
        "wait",
        578.016,
    ),
    (
        "groq size",
        413,
        {"error": {"message": "Request too large for model `llama`: Limit 6000", "code": "rate_limit_exceeded"}},
        LONG,
        None,
    ),
    (
        "deepseek balance",
        402,
        {"error": {"message": "Insufficient Balance", "type": "unknown_error", "code": "invalid_request_error"}},
        STOP_CREDIT,
        None,
    ),
    (
        "deepseek model",
        400,
        {"error": {"message": "Model Not Exist", "type": "invalid_request_error"}},
        STOP_MODEL,
        None,
    ),
    (
        "dashscope filter",
        400,
        {"code": "DataInspectionFailed", "message": "Input data may contain inappropriate content.", "request_id": "x"},
        FILTER,
        None,
    ),
    ("dashscope key", 401, {"code": "InvalidApiKey", "message": "Invalid API-key provided."}, STOP_KEY, None),
    ("dashscope arrears", 400, {"code": "Arrearage", "message": "Access denied."}, STOP_CREDIT, None),
    (
        "moonshot overload",
        429,
        {"error": {"message": "The engine is currently overloaded", "type": "engine_overloaded_error"}},
        "wait",
        None,
    ),
    (
        "minimax balance",
        200,
        {"base_resp": {"status_code": 1008, "status_msg": "insufficient balance"}},
        STOP_CREDIT,
        None,
    ),
    # Servers of one's own: vLLM, llama-server, llama-cpp-python, Ollama, TGI
    (
        "vllm context",
        400,
        {
            "object": "error",
            "message": "This model's maximum context length is 32768 tokens. However, you requested 41648 tokens.",
            "type": "BadRequestError",
            "param": None,
            "code": 400,
        },
        LONG,
        None,
    ),
    (
        "vllm negative limit",
        400,
        {"object": "error", "message": "max_tokens must be at least 1, got -186."},
        LONG,
        None,
    ),
    (
        "vllm model",
        404,
        {"error": {"message": "The model `x` does not exist.", "type": "NotFoundError", "param": "model", "code": 404}},
        STOP_MODEL,
        None,
    ),
    (
        "llama-server context",
        500,
        {
            "error": {
                "code": 500,
                "message": "the request exceeds the available context size. try increasing it",
                "type": "exceed_context_size_error",
                "n_prompt_tokens": 1407,
                "n_ctx": 256,
            }
        },
        LONG,
        None,
    ),
    (
        "llama-server loading",
        503,
        {"error": {"code": 503, "message": "Loading model", "type": "unavailable_error"}},
        "wait",
        None,
    ),
    (
        "llama-cpp-python context",
        400,
        {
            "error": {
                "message": "Requested tokens (600) exceed context window of 512",
                "code": "context_length_exceeded",
            }
        },
        LONG,
        None,
    ),
    (
        "ollama model",
        404,
        {"error": {"message": 'model "x" not found, try pulling it first', "type": "api_error", "code": None}},
        STOP_MODEL,
        None,
    ),
    ("ollama in words", 500, {"error": "llama runner process has terminated"}, "retry", None),
    ("tgi overload", 429, {"error": "Model is overloaded", "error_type": "overloaded"}, "wait", None),
    (
        "tgi context",
        422,
        {
            "error": "Input validation error: `inputs` must have less than 1024 tokens. Given: 2000",
            "error_type": "validation",
        },
        LONG,
        None,
    ),
    ("tgi generation", 424, {"error": "Request failed during generation", "error_type": "generation"}, "retry", None),
    # LiteLLM and gateways to Bedrock
    (
        "litellm limit",
        429,
        {
            "error": {
                "message": "litellm.RateLimitError: AzureException - slow",
                "type": "throttling_error",
                "code": "429",
            }
        },
        "wait",
        None,
    ),
    (
        "litellm budget",
        400,
        {"error": {"message": "Budget has been exceeded! Current cost: 2, Max budget: 1", "type": "budget_exceeded"}},
        STOP_CREDIT,
        None,
    ),
    (
        "litellm filter",
        400,
        {
            "error": {
                "message": "litellm.BadRequestError: litellm.ContentPolicyViolationError: AzureException",
                "code": "400",
            }
        },
        FILTER,
        None,
    ),
    (
        "litellm token",
        401,
        {
            "error": {
                "message": "Authentication Error, Invalid proxy server token passed.",
                "type": "auth_error",
                "code": 401,
            }
        },
        STOP_KEY,
        None,
    ),
    (
        "bedrock throttle",
        400,
        {"detail": "An error occurred (ThrottlingException): Too many tokens, please wait."},
        "wait",
        None,
    ),
    (
        "bedrock throttle type",
        429,
        {"__type": "com.amazon#ThrottlingException:http://x", "message": "Slow"},
        "wait",
        None,
    ),
    (
        "bedrock context",
        400,
        {"detail": "An error occurred (ValidationException): Input is too long for requested model."},
        LONG,
        None,
    ),
    ("bedrock access", 403, {"message": "AccessDeniedException: you are not authorized"}, STOP_ACCESS, None),
    (
        "apigee",
        500,
        {"fault": {"faultstring": "Spike arrest violation", "detail": {"errorcode": "TooManyRequests"}}},
        "wait",
        None,
    ),
    # What is between
    ("plain words", 503, "upstream did not answer", "wait", None),
    ("nginx", 502, "<html><head><title>502 Bad Gateway</title></head></html>", "retry", None),
    ("cloudflare", 524, "<html><title>A timeout occurred</title></html>", "retry", None),
    ("nothing", 500, "", "retry", None),
    ("redirect", 308, "", "stop address", None),
    ("method", 405, {"detail": "Method Not Allowed"}, "stop address", None),
    (
        "one request",
        400,
        {"error": {"message": "Invalid 'messages[0].content': bad characters"}},
        "refuse refused_request",
        None,
    ),
    (
        "one request, fastapi",
        422,
        {"detail": [{"loc": ["body"], "msg": "odd", "type": "value_error"}]},
        "refuse refused_request",
        None,
    ),
]


@pytest.mark.parametrize(("name", "status", "document", "verdict", "wait"), CASES, ids=[case[0] for case in CASES])
def test_verdicts(name: str, status: int, document: Any, verdict: str, wait: float | None) -> None:
    content = document if isinstance(document, str) else json.dumps(document)
    fault = find_fault(document) if status == 200 else read_fault(status, content.encode())
    assert fault is not None
    found = judge_fault(fault)
    detail = {"stop": found.topic, "reject": found.reason, "refuse": found.reason}.get(found.action)
    assert " ".join(str(part) for part in (found.action, detail) if part) == verdict
    assert fault.wait_seconds == (None if wait is None else pytest.approx(wait))


def test_the_words_of_nested_errors_are_joined() -> None:
    raw = {"message": "Provider returned error", "code": 429, "metadata": {"raw": "z-ai/x is rate-limited upstream."}}
    assert read_fault(429, json.dumps({"error": raw}).encode()).words == (
        "Provider returned error: z-ai/x is rate-limited upstream."
    )
    assert read_fault(502, b"<html><head><title>502 Bad\nGateway</title></head><p>x").words == "502 Bad Gateway"
    assert read_fault(500, b"").words == "status 500"


@pytest.mark.parametrize(
    "document",
    [
        {"choices": [], "usage": {}},
        {"choices": [{"message": {"content": "5", "role": "assistant"}}], "error": None},
        {"choices": [], "error": {"code": 0, "message": ""}},
        {"choices": [], "error": ""},
        {"choices": [], "error": False},
        {"base_resp": {"status_code": 0, "status_msg": "ok"}, "choices": []},
        {},
        [],
        None,
        7,
    ],
)
def test_what_is_not_an_error(document: object) -> None:
    assert find_fault(document) is None


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(st.characters(), max_size=20) | st.just("\ud800"),
    lambda inner: (
        st.lists(inner, max_size=4)
        | st.dictionaries(
            st.sampled_from(["error", "message", "code", "detail", "choices", "param", "loc", "retryDelay"]), inner
        )
    ),
    max_leaves=20,
)


@given(JSON, st.sampled_from([200, 400, 429, 500]))
@settings(max_examples=300, deadline=None)
def test_any_document_gets_a_verdict(document: object, status: int) -> None:
    fault = find_fault(document)
    assert fault is None or judge_fault(fault).action
    read = read_fault(status, json.dumps(document).encode())
    assert judge_fault(read).action
    read.words.encode()


def test_words_can_be_printed() -> None:
    read_fault(400, json.dumps({"error": {"message": "odd \ud800", "code": "\udfff"}}).encode()).words.encode()
    read_fault(400, json.dumps({"error": {"code": "\udfff"}}).encode()).words.encode()
    read_fault(400, json.dumps("\ud800").encode()).words.encode()


def test_long_words_are_read_in_linear_time() -> None:
    hostile = [
        "try again in " * 9_000,
        "1m" * 50_000,
        "model " * 16_000,
        "input (" * 14_000,
        "{" * 100_000,
        "9" * 100_000,
    ]
    begun = time.monotonic()
    for text in hostile:
        judge_fault(read_fault(400, text.encode()))
        judge_fault(read_fault(400, json.dumps({"error": {"message": text}}).encode()))
    assert time.monotonic() - begun < 5
