"""Requests whose answers the stub engine must shape as SGLang does.

A case is recorded from the real engine (`python tests/contract/engine/record.py URL`), and both
engines are held against the record.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal

Kind = Literal["json", "sse", "text", "metrics", "status"]


@dataclass(frozen=True)
class Case:
    """One request. `exact` answers (errors) must be equal, not only of the same shape.

    `keep`: of an object with hundreds of fields only these are compared.
    """

    name: str
    method: str
    path: str
    body: Any = None
    raw: bytes | None = None
    kind: Kind = "json"
    exact: bool = False
    keep: frozenset[str] = frozenset()


_HELLO = [{"role": "user", "content": "Say hello."}]
_LONG = [{"role": "user", "content": "word " * 9000}]
_SCHEMA = {
    "type": "object",
    "properties": {"city": {"type": "string", "maxLength": 8}, "sunny": {"type": "boolean"}},
    "required": ["city", "sunny"],
    "additionalProperties": False,
}


def _chat(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "messages": _HELLO, "max_tokens": 6, "temperature": 0} | more


def _text(**more: Any) -> dict[str, Any]:
    return {"model": "tiny", "prompt": "Once upon a", "max_tokens": 5, "temperature": 0} | more


def _native(**more: Any) -> dict[str, Any]:
    return {"text": "Once upon", "sampling_params": {"max_new_tokens": 5, "temperature": 0}} | more


_INFO = frozenset((
    "model_path", "tokenizer_path", "served_model_name", "context_length", "max_running_requests",
    "max_total_tokens", "host", "port", "tp_size", "dp_size", "page_size", "device",
    "disaggregation_mode", "random_seed", "status", "max_total_num_tokens", "max_req_input_len",
    "internal_states", "version", "frontend", "effective_max_running_requests_per_dp",
    "last_gen_throughput", "memory_usage",
))  # fmt: skip
_USAGE = {"stream": True, "stream_options": {"include_usage": True}}
_JSON_SCHEMA = {
    "type": "json_schema",
    "json_schema": {"name": "weather", "strict": True, "schema": _SCHEMA},
}
_C, _T, _G = "/v1/chat/completions", "/v1/completions", "/generate"

CASES = (
    Case("health", "GET", "/health", kind="status"),
    Case("health_generate", "GET", "/health_generate", kind="status"),
    Case("models", "GET", "/v1/models"),
    Case("model", "GET", "/v1/models/tiny"),
    Case("model_unknown", "GET", "/v1/models/none", exact=True),
    Case("model_info", "GET", "/model_info"),
    Case("get_model_info", "GET", "/get_model_info"),
    Case("server_info", "GET", "/server_info", keep=_INFO),
    Case("get_server_info", "GET", "/get_server_info", keep=_INFO),
    Case("loads", "GET", "/v1/loads"),
    Case("loads_core", "GET", "/v1/loads?include=core"),
    Case("chat", "POST", _C, _chat()),
    Case("chat_repeated", "POST", _C, _chat()),
    Case("chat_two_choices", "POST", _C, _chat(n=2)),
    Case("chat_stream", "POST", _C, _chat(stream=True), kind="sse"),
    Case("chat_stream_usage", "POST", _C, _chat(**_USAGE), kind="sse"),
    Case("chat_schema", "POST", _C, _chat(max_tokens=64, response_format=_JSON_SCHEMA)),
    Case("chat_regex", "POST", _C, _chat(max_tokens=16, regex="[0-9]{3}-[ab]")),
    Case("chat_parts", "POST", _C, _chat(messages=[
        {"role": "system", "content": "Be brief."},
        {"role": "user", "content": [{"type": "text", "text": "Hello."}]},
    ])),
    Case("text", "POST", _T, _text()),
    Case("text_list", "POST", _T, _text(prompt=["one", "two"])),
    Case("text_tokens", "POST", _T, _text(prompt=[5, 6, 7])),
    Case("text_echo", "POST", _T, _text(echo=True)),
    Case("text_stream", "POST", _T, _text(stream=True), kind="sse"),
    Case("text_stream_usage", "POST", _T, _text(**_USAGE), kind="sse"),
    Case("generate", "POST", _G, _native()),
    Case("generate_list", "POST", _G, _native(text=["one", "two"])),
    Case("generate_ids", "POST", _G, _native(text=None, input_ids=[5, 6, 7])),
    Case("generate_stream", "POST", _G, _native(stream=True), kind="sse"),
    Case("tokenize", "POST", "/tokenize", {"model": "tiny", "prompt": "Hello there"}),
    Case("flush_cache", "POST", "/flush_cache", kind="text"),
    Case("abort_request", "POST", "/abort_request", {"rid": "nothing"}, kind="status"),
    Case("metrics", "GET", "/metrics", kind="metrics"),
    Case("chat_malformed", "POST", _C, raw=b'{"model": ', exact=True),
    Case("chat_unknown_model", "POST", _C, _chat(model="none")),
    Case("chat_no_messages", "POST", _C, {"model": "tiny"}, exact=True),
    Case("chat_empty_messages", "POST", _C, _chat(messages=[]), exact=True),
    Case("chat_bad_max_tokens", "POST", _C, _chat(max_tokens=-1), exact=True),
    Case("chat_too_long", "POST", _C, _chat(messages=_LONG)),
    Case("chat_bad_schema", "POST", _C, _chat(regex="[")),
    Case("text_malformed", "POST", _T, raw=b"[1,", exact=True),
    Case("text_no_prompt", "POST", _T, {"model": "tiny"}, exact=True),
    Case("text_empty_prompt", "POST", _T, _text(prompt=""), exact=True),
    Case("generate_nothing", "POST", _G, {}),
    Case("generate_malformed", "POST", _G, raw=b"{"),
    Case("unknown_route", "GET", "/no/such/route", exact=True),
    Case("wrong_method", "GET", _C, exact=True),
)  # fmt: skip
