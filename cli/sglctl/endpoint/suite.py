"""Runs the checks in order; one failing check never hides the next."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Awaitable, Callable

import httpx

from sglctl.endpoint import checks_basic, checks_deep
from sglctl.endpoint.client import CheckFailedError, CheckSkippedError, EndpointClient
from sglctl.endpoint.report import CheckResult, Report
from sglctl.endpoint.target import Target
from sglctl.errors import EndpointTestError

Check = Callable[[EndpointClient], Awaitable[str]]

#: Name shown → check; the order is the order of the table.
CHECKS: dict[str, Check] = {
    "health": checks_basic.health,
    "models": checks_basic.models,
    "chat": checks_basic.chat,
    "completion": checks_basic.completion,
    "streaming": checks_basic.streaming,
    "error: malformed JSON": checks_basic.malformed_json,
    "error: unknown model": checks_basic.unknown_model,
    "error: empty messages": checks_basic.empty_messages,
    "error: oversized body": checks_basic.oversized_body,
    "error: wrong key": checks_basic.wrong_key,
    "constrained: JSON schema": checks_deep.json_schema,
    "constrained: regex": checks_deep.regex,
    "shared prefix": checks_deep.shared_prefix,
    "long context": checks_deep.long_context,
    "cancellation": checks_deep.cancellation,
    "concurrent streams": checks_deep.concurrent_streams,
}


def run_suite(target: Target, *, progress: Callable[[CheckResult], None] | None = None) -> Report:
    """Run every check against a target; never raises for a failing check.

    Raises EndpointTestError when the endpoint cannot be reached at all.
    """
    return asyncio.run(_run(target, progress))


async def _run(target: Target, progress: Callable[[CheckResult], None] | None) -> Report:
    model, is_sglang = await _look(target)
    results: list[CheckResult] = []
    client = EndpointClient(target, model, is_sglang=is_sglang)
    try:
        for name, check in CHECKS.items():
            result = await _run_one(name, check, client)
            results.append(result)
            if progress is not None:
                progress(result)
    finally:
        await client.close()
    return Report(target.base_url, model, tuple(results))


async def _look(target: Target) -> tuple[str, bool]:
    """The model to ask for, and whether the engine is SGLang."""
    client = EndpointClient(target)
    try:
        response = await client.get("/v1/models")
    except httpx.TransportError as error:
        raise EndpointTestError(
            f"no answer from {target.base_url}: {error or type(error).__name__}",
            hint="check the URL, and that the fleet is up with: sglctl status",
        ) from error
    finally:
        await client.close()
    if response.status_code in (401, 403):
        raise EndpointTestError(
            f"{target.base_url} refused the key (status {response.status_code})",
            hint="give the key with --api-key or SGLCTL_API_KEY",
        )
    try:
        listed = response.json()["data"] if response.status_code == 200 else []
    except (json.JSONDecodeError, KeyError, TypeError):
        listed = []
    wanted = target.model or (listed[0]["id"] if listed else "")
    owner = next((m.get("owned_by") for m in listed if m["id"] == wanted), None)
    return wanted, owner == "sglang"


async def _run_one(name: str, check: Check, client: EndpointClient) -> CheckResult:
    started = time.monotonic()
    limit = client.target.timeout_s * 2
    try:
        async with asyncio.timeout(limit):
            status, detail = "passed", await check(client)
    except CheckSkippedError as error:
        status, detail = "skipped", str(error)
    except CheckFailedError as error:
        status, detail = "failed", str(error)
    except TimeoutError:
        status, detail = "failed", f"no end after {limit:.0f} s"
    except httpx.HTTPError as error:
        status, detail = "failed", f"{type(error).__name__}: {error}"
    except (KeyError, IndexError, TypeError, ValueError) as error:
        status, detail = "failed", f"the answer lacks what it must have: {error!r}"
    return CheckResult(name, status, detail, time.monotonic() - started)  # type: ignore[arg-type]
