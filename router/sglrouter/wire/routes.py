"""Which paths a client may reach, and who answers them. Pure.

Engines mix serving and administration on one port (SGLang: /flush_cache, /update_weights_from_disk,
/abort_request, /set_internal_state, /pause_generation, /server_info, which prints its API key …).
So this is an allowlist: what is not named here does not exist for clients.
The decision is made on the decoded path, because engines decode before they match.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum
from functools import lru_cache
from urllib.parse import unquote_to_bytes


class Kind(Enum):
    HEALTH = "health"
    MODELS = "models"
    MODEL = "model"
    FORWARD = "forward"
    UNKNOWN = "unknown"


@dataclass(frozen=True, slots=True)
class Route:
    """`label` is the route's name in metrics (few values); `name` the model of Kind.MODEL."""

    kind: Kind
    label: str
    name: str = ""


# Requests a worker answers: SGLang 0.5.23's (http_server.py), OpenAI's and Anthropic's API
# references, vLLM's spellings; SageMaker's /invocations is a chat completion to SGLang.
FORWARDED = frozenset(
    {
        "/generate",
        "/encode",
        "/classify",
        "/rerank",
        "/score",
        "/tokenize",
        "/detokenize",
        "/invocations",
        "/vertex_generate",
        "/api/chat",
        "/api/generate",
        "/model_info",
        "/get_model_info",
        "/v1/chat/completions",
        "/v1/completions",
        "/v1/embeddings",
        "/v1/responses",
        "/v1/messages",
        "/v1/messages/count_tokens",
        "/v1/rerank",
        "/v1/score",
        "/v1/decisions",
        "/v1/classify",
        "/v1/tokenize",
        "/v1/detokenize",
        "/v1/audio/transcriptions",
        "/v1/audio/translations",
        "/v1/audio/speech",
        "/v1/images/generations",
        "/v1/images/edits",
        "/v1/moderations",
    }
)
# Everything else below /v1/ is passed on too, but for what changes or describes an engine, and
# for WebSockets.
REFUSED_V1 = frozenset(
    {"loads", "load_lora_adapter", "unload_lora_adapter", "start_profile", "realtime"}
)

HEALTH_PATHS = frozenset({"/health", "/ping"})
UNKNOWN = Route(Kind.UNKNOWN, "unknown")


def origin_path(target: bytes) -> bytes:
    """The path of a request target in origin form, without its query."""
    return target.partition(b"?")[0]


@lru_cache(maxsize=1024)
def find_route(path: bytes) -> Route:
    """The route of a raw path (no query), see the module's text."""
    try:
        decoded = unquote_to_bytes(path).decode()
    except UnicodeDecodeError:
        return UNKNOWN
    if any(part in ("", ".", "..") for part in decoded.split("/")[1:]):
        return UNKNOWN
    if "\\" in decoded or "#" in decoded:  # uvicorn's httptools ends the path at a raw `#`
        return UNKNOWN
    if decoded in HEALTH_PATHS:
        return Route(Kind.HEALTH, decoded)
    if decoded == "/v1/models":
        return Route(Kind.MODELS, decoded)
    if decoded.startswith("/v1/models/"):
        return Route(Kind.MODEL, "/v1/models/*", decoded.removeprefix("/v1/models/"))
    if decoded in FORWARDED:
        return Route(Kind.FORWARD, decoded)
    if decoded.startswith("/v1/") and decoded.split("/")[2] not in REFUSED_V1:
        return Route(Kind.FORWARD, "/v1/*")
    return UNKNOWN
