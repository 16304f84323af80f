"""Keeps the router's set of workers: finds them, and reads each agent's /state.

One loop reads the source; one small loop per worker reads its state, so that a slow agent
delays nobody else's news.
"""

from __future__ import annotations

import asyncio
import traceback
from contextlib import suppress

from pydantic import ValidationError

from sglrouter.errors import DiscoveryError
from sglrouter.fleet.agent_client import AgentClient, ReadError
from sglrouter.fleet.discovery import Source, address_of
from sglrouter.fleet.workers import MAX_FAILED_READS, Report, Seen, Worker
from sglrouter.serving.core import Router
from sglworker.models import WorkerState

READ_TIMEOUT_S = 1.0
# An engine's /health is asked less often than an agent's /state, which is made for it.
# SGLang's generates a token and takes a second at least (http_server.py, health_generate), more
# while a long prompt is computed; it gives up after 20 s.
PROBE_INTERVAL_S, PROBE_TIMEOUT_S = 1.0, 20.0


def read_state(body: bytes, environment: str, fleet: str) -> Report:
    """The agent's document as a report. Raises ReadError when it is not one of this fleet."""
    try:
        state = WorkerState.model_validate_json(body)
        engine = address_of(state.engine_url)
    except (ValidationError, ValueError) as error:
        raise ReadError(f"not a worker state: {error}") from error
    if (state.environment, state.fleet) != (environment, fleet):
        raise ReadError(f"the agent is of {state.environment}/{state.fleet}, not of this fleet")
    return Report(state.state, state.queued, engine, state.model_dump(mode="json"))


class Registrar:
    """`run` until cancelled. `looked` is set after the first read of the source, failed or not."""

    def __init__(self, router: Router, source: Source) -> None:
        self.router = router
        self.source = source
        self.looked = asyncio.Event()
        self._wake = asyncio.Event()
        self._seen: list[Seen] = []
        self._failure = ""
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                self._wake.clear()
                await self._discover()
                self.looked.set()
                with suppress(TimeoutError):
                    await asyncio.wait_for(self._wake.wait(), self.source.interval_s)
        finally:
            for task in self._watches.values():
                task.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)

    def configure(self, source: Source | None) -> None:
        """The document changed: fleets that are gone lose their workers now, and the source
        (None: as before) is read at once."""
        if source is not None:
            self.source = source
        self._apply(self._seen)
        self._wake.set()

    async def _discover(self) -> None:
        source = self.source
        try:
            seen = await source.read()
        except DiscoveryError as error:  # the last known set stays
            self._failed({"reason": str(error)})
        except Exception:  # a defect here must not stop the loop that finds workers
            self._failed({"traceback": traceback.format_exc()})
        else:
            self._failure = ""
            if source is self.source:  # else what was read is no longer asked for
                self._apply(seen)

    def _failed(self, fields: dict[str, str]) -> None:
        """Count each failure; say a reason once, not at every interval."""
        self.router.metrics.discovery_failed()
        if str(fields) != self._failure:
            self._failure = str(fields)
            self.router.log.write("discovery_failed", fields)

    def _apply(self, seen: list[Seen]) -> None:
        self._seen = seen
        added, removed = self.router.workers.apply(seen)
        for worker in removed:
            self._forget(worker)
        for worker in added:
            self._watches[worker.id] = asyncio.create_task(self._watch(worker))
            self._tell(worker, "registered")
        if removed:
            self.router.workers.refresh(self.router.clock())

    def _forget(self, worker: Worker) -> None:
        task = self._watches.pop(worker.id, None)
        if task is not None:
            task.cancel()
        self.router.forget(worker)
        self._tell(worker, "deregistered")

    def _tell(self, worker: Worker, event: str, reason: str = "") -> None:
        fields = {"worker": worker.id, "fleet": worker.fleet, "state": worker.state}
        self.router.log.write(event, {**fields, "reason": reason} if reason else fields)

    async def _watch(self, worker: Worker) -> None:
        """Read one worker's state again and again."""
        client = AgentClient(worker.agent or worker.engine)
        try:
            while True:
                started = self.router.clock()
                await self._read(worker, client)
                spent = self.router.clock() - started
                await asyncio.sleep(max(0.05, self._interval(worker) - spent))
        finally:
            client.close()

    def _interval(self, worker: Worker) -> float:
        interval = self.router.document.discovery.state_interval_s
        return interval if worker.agent is not None else max(interval, PROBE_INTERVAL_S)

    async def _read(self, worker: Worker, client: AgentClient) -> None:
        router = self.router
        before = worker.state, worker.failed_reads >= MAX_FAILED_READS
        try:
            report = await self._report(worker, client)
        except ReadError as error:
            worker.failed_reads += 1
            if worker.failed_reads == MAX_FAILED_READS:
                self._tell(worker, "worker_unreadable", str(error))
        except Exception:  # as in _discover: the watch goes on
            worker.failed_reads += 1
            self._tell(worker, "worker_unreadable", traceback.format_exc())
        else:
            router.workers.reported(worker, report, router.clock())
            if worker.state != before[0]:
                self._tell(worker, "worker_state")
        if (worker.state, worker.failed_reads >= MAX_FAILED_READS) != before:
            router.workers.refresh(router.clock())

    async def _report(self, worker: Worker, client: AgentClient) -> Report:
        if worker.agent is None:
            status, _ = await client.get("/health", PROBE_TIMEOUT_S)
            return Report("ready" if status == 200 else "starting", 0, None, {})
        status, body = await client.get("/state", READ_TIMEOUT_S)
        if status != 200:
            raise ReadError(f"{worker.agent}/state answered {status}")
        return read_state(body, self.router.document.environment, worker.told_fleet)
