"""Keeps the router's set of workers: finds them, and reads each agent's /state.

One loop reads the source; one small loop per worker reads its state, so that a slow agent
delays nobody else's news.
"""

from __future__ import annotations

import asyncio
import traceback

from pydantic import ValidationError

from sglrouter.errors import DiscoveryError
from sglrouter.fleet.agent_client import AgentClient, ReadError
from sglrouter.fleet.discovery import Source, address_of
from sglrouter.fleet.workers import MAX_FAILED_READS, Report, Worker
from sglrouter.serving.core import Router
from sglrouter.wire.upstream import close_idle
from sglworker.models import WorkerState

READ_TIMEOUT_S = 1.0
# An engine's /health is asked less often than an agent's /state, which is made for it.
PROBE_INTERVAL_S = 1.0


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
    """`run` until cancelled. `found` is set after the first successful read of the source."""

    def __init__(self, router: Router, source: Source) -> None:
        self.router = router
        self.source = source
        self.found = asyncio.Event()
        self._watches: dict[str, asyncio.Task[None]] = {}

    async def run(self) -> None:
        try:
            while True:
                await self._discover()
                await asyncio.sleep(self.source.interval_s)
        finally:
            for task in self._watches.values():
                task.cancel()
            await asyncio.gather(*self._watches.values(), return_exceptions=True)

    async def _discover(self) -> None:
        router = self.router
        try:
            seen = await self.source.read()
        except DiscoveryError as error:  # the last known set stays
            router.metrics.discovery_failed()
            router.log.write("discovery_failed", {"reason": str(error)})
            return
        except Exception:  # a defect here must not stop the loop that finds workers
            router.metrics.discovery_failed()
            router.log.write("discovery_failed", {"traceback": traceback.format_exc()})
            return
        added, removed = router.workers.apply(seen)
        for worker in removed:
            self._forget(worker)
        for worker in added:
            self._watches[worker.id] = asyncio.create_task(self._watch(worker))
            self._tell(worker, "registered")
        if removed:
            router.workers.refresh(router.clock())
        self.found.set()

    def _forget(self, worker: Worker) -> None:
        task = self._watches.pop(worker.id, None)
        if task is not None:
            task.cancel()
        close_idle(worker)
        self.router.policy.forget(worker.slot)
        self._tell(worker, "deregistered")

    def _tell(self, worker: Worker, event: str, reason: str = "") -> None:
        fields = {"worker": worker.id, "fleet": worker.fleet, "state": worker.state}
        self.router.log.write(event, {**fields, "reason": reason} if reason else fields)

    async def _watch(self, worker: Worker) -> None:
        """Read one worker's state again and again."""
        interval = self.router.document.discovery.state_interval_s
        if worker.agent is None:
            interval = max(interval, PROBE_INTERVAL_S)
        client = AgentClient(worker.agent or worker.engine)
        try:
            while True:
                started = self.router.clock()
                await self._read(worker, client)
                spent = self.router.clock() - started
                await asyncio.sleep(max(0.05, interval - spent))
        finally:
            client.close()

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
            status, _ = await client.get("/health", READ_TIMEOUT_S)
            return Report("ready" if status == 200 else "starting", 0, None, {})
        status, body = await client.get("/state", READ_TIMEOUT_S)
        if status != 200:
            raise ReadError(f"{worker.agent}/state answered {status}")
        return read_state(body, self.router.document.environment, worker.fleet)
