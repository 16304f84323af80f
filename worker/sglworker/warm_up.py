"""The generations before a worker is ready: what is slow the first time, slow for nobody else.

Short prompts, long ones (a prefill of more than one chunk), and constrained output, whose grammar
backend compiles at its first use.
"""

from __future__ import annotations

import asyncio
import json
import logging
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from sglworker.engine import Engine
from sglworker.errors import UnreachableError, WorkerError
from sglworker.models import FleetDocument

logger = logging.getLogger(__name__)

_SHORT_TOKENS = 8
_CHUNK_TOKENS = 2048  # where the engine does not tell its own
_OVER_CHUNK_TOKENS = 128
_ANSWER_TOKENS = 8
_FIRST_ID, _IDS = 100, 64
_CONSTRAINED_ANSWER_TOKENS = 32
_CONSTRAINTS: dict[str, dict[str, str]] = {
    "json_schema": {
        "json_schema": json.dumps(
            {"type": "object", "properties": {"n": {"type": "integer"}}, "required": ["n"]}
        )
    },
    "regex": {"regex": "(yes|no)"},
}
#: SGLang's address of a peer that is not there: the worker prefills, or decodes from a cache of
#: garbage, transfers nothing and keeps nothing of it (`FAKE_BOOTSTRAP_HOST`, `Req.
#: skip_radix_cache_insert`). SGLang's own warm-up of such workers does the same.
_NO_PEER = {"bootstrap_host": "2.2.2.2", "bootstrap_room": 0}


@dataclass(frozen=True)
class Shape:
    """One generation. An engine may refuse an optional one."""

    name: str
    body: dict[str, Any]
    optional: bool = False


def shapes(fleet: FleetDocument, chunk_tokens: int | None) -> list[Shape]:
    """`warm_up.prompts` short and long ones in turn, then the constrained ones.

    No two have a common prefix (it would be cached). Prompts are token ids, so that lengths are
    exact for every tokenizer; any vocabulary has these. A prefill or decode worker alone is asked
    for no constrained output: its peer that is not there knows no grammar.
    """
    chunk = chunk_tokens or _CHUNK_TOKENS
    long = max(1, min(chunk + _OVER_CHUNK_TOKENS, fleet.context_length // 4))
    plain = [("short", min(_SHORT_TOKENS, long)), ("long", long)]
    found = []
    for index in range(fleet.warm_up.prompts):
        name, length = plain[index % 2]
        found.append(Shape(name, _body(fleet, index, length, _ANSWER_TOKENS)))
    if fleet.role != "regular":
        return found
    for number, (name, constraint) in enumerate(_CONSTRAINTS.items(), len(found)):
        body = _body(fleet, number, plain[0][1], _CONSTRAINED_ANSWER_TOKENS)
        found.append(Shape(name, body | {"ignore_eos": False} | constraint, optional=True))
    return found


def _body(fleet: FleetDocument, index: int, length: int, answer_tokens: int) -> dict[str, Any]:
    return {
        "model": fleet.served_model_name,
        "prompt": [_FIRST_ID + (index + position) % _IDS for position in range(length)],
        "max_tokens": answer_tokens,
        "temperature": 0,
        "ignore_eos": True,
        **({} if fleet.role == "regular" else _NO_PEER),
    }


async def warm_up(
    engine: Engine, wanted: list[Shape], within_s: float, took: Callable[[str, float], None],
    retry_s: float = 1.0,
) -> None:  # fmt: skip
    """Generate every shape; a failed one is tried again for `within_s` seconds in all.

    `took` hears each shape's name and seconds.
    Raises UnreachableError with the last failure, WorkerError when the engine refuses one.
    """
    loop = asyncio.get_running_loop()
    deadline = loop.time() + within_s
    for shape in wanted:
        while True:
            began = loop.time()
            try:
                await engine.generate(shape.body, max(0.1, deadline - began))
                took(shape.name, loop.time() - began)
                break
            except UnreachableError as error:
                if loop.time() + retry_s >= deadline or await engine.load() == "down":
                    raise UnreachableError(f"warm-up failed: {error}") from error
                await asyncio.sleep(retry_s)
            except WorkerError as error:
                if not shape.optional:
                    raise
                logger.warning("no %s output on this engine: %s", shape.name, error)
                break
