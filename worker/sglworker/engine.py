"""The engine, asked over HTTP at its own address."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import aiohttp

from sglworker.drain import Load, Reading
from sglworker.errors import UnreachableError, WorkerError
from sglworker.models import FleetDocument

_HEALTH_TIMEOUT = aiohttp.ClientTimeout(total=10.0)  # SGLang's /health generates a token
_GENERATE_TIMEOUT = aiohttp.ClientTimeout(total=25.0)  # SGLang gives up on its own after 20 s
_LOAD_TIMEOUT = aiohttp.ClientTimeout(total=2.0)
#: What a decode worker asks first; 200 once every rank of the prefill worker has registered.
_REGISTERED = "/route?prefill_dp_rank=-1&prefill_cp_rank=-1&target_tp_rank=-1&target_pp_rank=-1"


@dataclass(frozen=True)
class EngineInfo:
    """`chunked_prefill_size`: tokens of one step of a prefill; None: not chunked, or not told."""

    version: str
    chunked_prefill_size: int | None


class Engine:
    """One engine. Only `load` never raises: its failures are readings."""

    def __init__(self, session: aiohttp.ClientSession, url: str) -> None:
        self._session = session
        self.url = url

    async def healthy(self) -> bool:
        """Whether /health answers 200."""
        return await self._answers(f"{self.url}/health")

    async def generates(self) -> bool:
        """Whether it makes tokens: one of its own, or any of a request that runs meanwhile.

        SGLang's /health_generate answers 200 as soon as anything comes out of its scheduler.
        """
        return await self._answers(f"{self.url}/health_generate", _GENERATE_TIMEOUT)

    async def missing(self, fleet: FleetDocument) -> str:
        """What does not answer yet; empty once the engine may be warmed up.

        SGLang goes on without its bootstrap server when that port is taken: /health is well, and
        every request fails.
        """
        if not await self.healthy():
            return "/health"
        if fleet.role == "prefill":
            port = fleet.disaggregation.bootstrap_port
            if not await self._answers(f"http://{self._host}:{port}{_REGISTERED}"):
                return f"bootstrap server on port {port}"
        return ""

    async def adapters(self) -> tuple[str, ...]:
        """The LoRA adapters it has loaded; raises UnreachableError, WorkerError.

        SGLang lists them beside the model, each with the model as its `parent`.
        """
        cards: Any = (await self._json("GET", "/v1/models", None, _LOAD_TIMEOUT)).get("data")
        try:
            return tuple(sorted(str(card["id"]) for card in cards if card["parent"]))
        except (KeyError, TypeError) as error:
            raise UnreachableError(f"{self.url}/v1/models: no list of models") from error

    @property
    def _host(self) -> str:
        host = urlsplit(self.url).hostname or ""
        return f"[{host}]" if ":" in host else host

    async def _answers(
        self,
        url: str,
        timeout: aiohttp.ClientTimeout = _HEALTH_TIMEOUT,  # noqa: ASYNC109
    ) -> bool:
        try:
            async with self._session.get(url, timeout=timeout) as response:
                return response.status == 200
        except (aiohttp.ClientError, TimeoutError, OSError):
            return False

    async def info(self) -> EngineInfo:
        """What it says of itself; raises UnreachableError."""
        info = await self._json("GET", "/server_info", None, _HEALTH_TIMEOUT)
        chunk = info.get("chunked_prefill_size")
        return EngineInfo(
            str(info.get("version", "unknown")),
            chunk if isinstance(chunk, int) and chunk > 0 else None,
        )

    async def load(self) -> Reading:
        """What the engine is doing; "down" when nothing listens, "silent" without an answer."""
        try:
            async with self._session.get(
                f"{self.url}/v1/loads?include=core", timeout=_LOAD_TIMEOUT
            ) as response:
                if response.status != 200:
                    return "silent"
                return _sum(await response.json())
        except aiohttp.ClientConnectorError:
            return "down"
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError, KeyError, TypeError):
            return "silent"

    async def generate(self, body: dict[str, Any], timeout_s: float) -> None:
        """One real completion.

        Raises UnreachableError when it fails or is empty, WorkerError when it is refused.
        """
        answer = await self._json(
            "POST", "/v1/completions", body, aiohttp.ClientTimeout(total=timeout_s)
        )
        if not answer.get("usage", {}).get("completion_tokens"):
            raise UnreachableError(f"{self.url}: a generation gave no token")

    async def _json(
        self,
        method: str,
        path: str,
        body: Any,
        timeout: aiohttp.ClientTimeout,  # noqa: ASYNC109
    ) -> dict[str, Any]:
        url = f"{self.url}{path}"
        try:
            async with self._session.request(method, url, json=body, timeout=timeout) as response:
                if response.status != 200:
                    text = (await response.text())[:200]
                    refused = 400 <= response.status < 500  # asking again would not help
                    kind = WorkerError if refused else UnreachableError
                    raise kind(f"{url} answered {response.status}: {text}")
                answer = await response.json()
        except (aiohttp.ClientError, TimeoutError, OSError, ValueError) as error:
            raise UnreachableError(f"{url}: {str(error) or type(error).__name__}") from error
        if not isinstance(answer, dict):
            raise UnreachableError(f"{url}: not a JSON object")
        return answer


def _sum(document: dict[str, Any]) -> Load:
    loads = document["loads"]
    if not loads:
        raise ValueError("no rank reports its load")
    sizes = [rank.get("max_running_requests") for rank in loads]
    return Load(
        in_flight=sum(int(rank["num_running_reqs"]) for rank in loads),
        queued=sum(int(rank["num_waiting_reqs"]) for rank in loads),
        token_usage=max(float(rank["token_usage"]) for rank in loads),
        cache_hit_rate=sum(float(rank["cache_hit_rate"]) for rank in loads) / len(loads),
        max_running_requests=None if None in sizes else sum(map(int, sizes)),
    )
