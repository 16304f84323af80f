"""From boot to ready, and through the warm pool: the steps of a worker's way into service."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Awaitable, Callable

import aiohttp

from sglworker import boot
from sglworker.aws import Aws
from sglworker.command import engine_command
from sglworker.engine import Engine
from sglworker.errors import BootError, UnreachableError, WorkerError
from sglworker.files import Files
from sglworker.hydrate import Weights, find_weights, hydrate
from sglworker.imds import Imds
from sglworker.machine import Event
from sglworker.models import FleetDocument, HostDocument
from sglworker.notices import WARM_TARGETS
from sglworker.notify import notify
from sglworker.timeline import boot_at
from sglworker.warm_up import shapes, warm_up
from sglworker.worker import Worker

logger = logging.getLogger(__name__)

BOOT_TIMEOUT_S = 300.0
ENGINE_POLL_S = 0.5
TARGET_POLL_S = 1.0
#: A little more than the engine's unit has to stop (`TimeoutStopSec`).
ENGINE_STOP_TIMEOUT_S = 150.0
_EXTEND_START_S = 60


class BringUp:
    """Each public method is a whole way; errors of theirs fail the worker (see `Agent`)."""

    def __init__(
        self, worker: Worker, files: Files, host: HostDocument, imds: Imds,
        session: aiohttp.ClientSession,
    ) -> None:  # fmt: skip
        self._worker = worker
        self._files = files
        self._host = host
        self._imds = imds
        self._session = session
        self.engine: Engine | None = None

    async def boot(
        self, booted: Callable[[Aws], None], listen: Callable[[int], Awaitable[None]]
    ) -> None:
        """From nothing to ready. Raises WorkerError, OSError."""
        worker = self._worker
        fleet = await self._documents(booted)
        command = engine_command(self._host, fleet)
        await listen(fleet.agent_port)
        address = worker.identity.address
        self.engine = Engine(self._session, f"http://{address}:{fleet.engine_port}")
        if worker.resumed is not None:
            self._files.write_engine(command)
            worker.resume_drain()
            notify("READY=1", f"STATUS={worker.state}")
            return
        worker.machine.apply(Event.BOOTED)
        if fleet.hydrate:
            await self._hydrate()
        await self._hold()
        self._files.write_engine(command)
        leave = Event.RELEASED if worker.state == "warmed" else Event.HYDRATED
        worker.machine.apply(leave, f"{worker.hydrated_bytes} bytes read")
        notify("READY=1", "STATUS=weights read, engine may start")
        await self.start_engine(worker.started_at + fleet.launch_timeout_s)

    async def _documents(self, booted: Callable[[Aws], None]) -> FleetDocument:
        worker, deadline = self._worker, asyncio.get_running_loop().time() + BOOT_TIMEOUT_S
        worker.identity = await boot.identify(self._imds, self._host, deadline)
        aws = Aws(worker.identity.region, worker.identity.instance_id)
        booted(aws)
        await self._date_launch()
        worker.user_data = await boot.told(self._imds, deadline)
        worker.fleet = await boot.fleet_document(aws.fleet_document, worker.user_data, deadline)
        return worker.fleet

    async def _date_launch(self) -> None:
        try:
            at = await self._imds.launched_at()
        except UnreachableError as error:  # the timeline begins with the agent then
            logger.warning("when the instance was launched is not known: %s", error)
        else:
            self._worker.timeline.launched(at, self._worker.wall(), boot_at())

    async def _hydrate(self) -> None:
        worker = self._worker
        path, instance_id = self._host.model.path, worker.identity.instance_id
        weights = await asyncio.to_thread(find_weights, path, instance_id)
        worker.weights_bytes = weights.total_bytes
        if self._files.is_hydrated(weights.key):
            logger.info("%d bytes of weights were read on this volume before", weights.total_bytes)
            return
        await self._read(weights)
        try:
            self._files.write_hydrated(weights.key)
        except BootError as error:  # they are read once more at the next start
            logger.warning("the weights are read, but not marked as hot: %s", error)

    async def _read(self, weights: Weights) -> None:
        worker, loop = self._worker, asyncio.get_running_loop()
        began = worker.monotonic()
        worker.hydrated_bytes = 0

        def add(count: int) -> None:
            worker.hydrated_bytes += count
            took = max(worker.monotonic() - began, 1e-6)
            worker.hydration_mbps = round(worker.hydrated_bytes / 1e6 / took, 1)

        def heard(count: int) -> None:
            loop.call_soon_threadsafe(add, count)

        extend = loop.create_task(self._extend_start())
        try:
            await hydrate(weights, heard)
        finally:
            extend.cancel()
        worker.hydrated_bytes = weights.total_bytes
        logger.info("%d bytes of weights, %s MB/s", weights.total_bytes, worker.hydration_mbps)

    async def _extend_start(self) -> None:
        """systemd must not give up on the start while weights are read."""
        while True:
            notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_START_S * 1_000_000}", "STATUS=reading weights")
            await asyncio.sleep(_EXTEND_START_S / 3)

    async def _hold(self) -> None:
        """Wait while the group wants the instance in its warm pool."""
        while True:
            try:
                target = await self._imds.target_lifecycle_state()
            except UnreachableError as error:
                logger.warning("target lifecycle state: %s", error)
            else:
                if target not in WARM_TARGETS:
                    return
                if self._worker.state == "hydrating":
                    self._worker.machine.apply(Event.HELD, f"the group wants {target}")
            notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_START_S * 1_000_000}", "STATUS=warm")
            await asyncio.sleep(TARGET_POLL_S)

    async def start_engine(self, deadline: float, warm_up_s: float | None = None) -> None:
        """From `starting` to `ready`; raises WorkerError at the deadline (the worker's clock).

        `warm_up_s` None: the fleet's.
        """
        worker, engine, fleet = self._worker, self.engine, self._worker.fleet
        if engine is None or fleet is None:
            raise WorkerError("the engine cannot start before boot is over")
        while True:
            while missing := await engine.missing(fleet):
                if worker.monotonic() >= deadline:
                    raise WorkerError(f"the engine's {missing} did not answer in time")
                await asyncio.sleep(ENGINE_POLL_S)
            worker.machine.apply(Event.ENGINE_UP)
            try:
                info = await engine.info()
                worker.engine_version = info.version
                worker.adapters = await engine.adapters()
                wanted = shapes(fleet, info.chunked_prefill_size)
                within_s = warm_up_s or fleet.warm_up.timeout_s
                await warm_up(engine, wanted, within_s, worker.timeline.took)
            except UnreachableError as error:
                if await engine.load() != "down":
                    raise
                worker.machine.apply(Event.ENGINE_LOST, str(error))
                continue
            worker.silent_reads = 0
            worker.machine.apply(Event.WARMED_UP, f"{len(wanted)} generations")
            notify("STATUS=ready")
            return

    async def return_to_pool(self) -> None:
        """From `drained` to `warmed`, and back into service when the group wants that."""
        worker, fleet = self._worker, self._worker.fleet
        if fleet is None:
            raise WorkerError("a worker without its documents cannot return to the warm pool")
        if await self._host_stops():
            worker.hold("the engine stops with its host")
        else:
            stopped = await self._stop_engine()
            worker.hold("the engine is stopped" if stopped else "the engine did not stop")
        await self._hold()
        self._files.want_engine("started")
        worker.machine.apply(Event.RELEASED, "the group wants it in service")
        await self.start_engine(worker.monotonic() + fleet.launch_timeout_s)

    async def _host_stops(self) -> bool:
        """Whether EC2 stops the host as soon as the hook is completed: systemd ends the engine."""
        try:
            return await self._imds.target_lifecycle_state() == "Warmed:Stopped"
        except UnreachableError:
            return False

    async def _stop_engine(self) -> bool:
        """Whether it is down. One that stays is no reason to stay out of the pool: it is idle."""
        if self.engine is None:
            return True
        self._files.want_engine("stopped")
        deadline = self._worker.monotonic() + ENGINE_STOP_TIMEOUT_S
        while self._worker.monotonic() < deadline:
            if await self.engine.load() == "down":
                return True
            await asyncio.sleep(ENGINE_POLL_S)
        logger.warning("the engine did not stop within %g s", ENGINE_STOP_TIMEOUT_S)
        return False
