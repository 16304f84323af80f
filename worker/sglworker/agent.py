"""The agent: wires metadata, AWS, engine and server to one worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from datetime import timedelta

import aiohttp

from sglworker import boot
from sglworker.aws import Aws
from sglworker.command import engine_command
from sglworker.drain import Reading, Trigger
from sglworker.engine import Engine, warm_up
from sglworker.errors import UnreachableError, WorkerError
from sglworker.files import Files
from sglworker.hooks import Hooks
from sglworker.hydrate import hydrate
from sglworker.imds import DEFAULT_ENDPOINT, Imds
from sglworker.machine import Event
from sglworker.models import FleetDocument, HostDocument
from sglworker.notify import notify
from sglworker.server import Server
from sglworker.worker import Worker

logger = logging.getLogger(__name__)

BOOT_TIMEOUT_S = 300.0
_ENGINE_POLL_S = 0.5
_INSTANCE_POLL_S = 1.0
_HOOK_POLL_S = 1.0
_ADAPTERS_POLL_S = 5.0  # they are loaded and unloaded while the engine runs
#: EC2 takes a Spot instance back without waiting: leave time to complete the hook.
_SPOT_MARGIN = timedelta(seconds=5)
_EXTEND_START_S = 60
_LOG_EVERY = 60
_WARM_TARGETS = ("Warmed:Stopped", "Warmed:Running", "Warmed:Hibernated")


class Agent:
    """One worker's agent; `run` returns when SIGTERM's drain is over."""

    def __init__(self, files: Files, host: HostDocument) -> None:
        self.worker = Worker()
        self._files = files
        self._host = host
        self._server = Server(self.worker, self._operator_drain, self._operator_undrain)
        self._engine: Engine | None = None
        self._hooks: Hooks | None = None
        self._metadata_failures = 0
        self._port = 0
        self._bring_up: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM and the end of its drain. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with aiohttp.ClientSession(trust_env=False) as session:
            endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_ENDPOINT
            imds = Imds(session, endpoint)
            await self._listen(FleetDocument.model_fields["agent_port"].default)
            self._start(lambda: self._boot(imds, session))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._every(_ENGINE_POLL_S, self._watch_engine))
                    group.create_task(
                        self._every(_INSTANCE_POLL_S, lambda: self._watch_instance(imds))
                    )
                    group.create_task(self._every(_HOOK_POLL_S, self._watch_hooks))
                    group.create_task(self._every(_ADAPTERS_POLL_S, self._watch_adapters))
            finally:
                await self._stop_bring_up()
                await self._server.close()

    async def _every(self, interval_s: float, step: Callable[[], Awaitable[None]]) -> None:
        while not self._leaving.is_set():
            try:
                await step()
            except Exception:  # a bug in one look must not end the agent
                logger.exception("unexpected error")
            try:
                await asyncio.wait_for(self._leaving.wait(), interval_s)
            except TimeoutError:
                continue

    async def _listen(self, port: int) -> None:
        if port == self._port:
            return
        self._port = port
        actual = await self._server.listen(self._host.bind, port)
        wildcard = self._host.bind in ("0.0.0.0", "::")  # noqa: S104
        self._files.write_agent(f"http://{'127.0.0.1' if wildcard else self._host.bind}:{actual}")

    # Bringing up: boot, hydrate, start, warm up.

    def _start(self, steps: Callable[[], Awaitable[None]]) -> None:
        self._bring_up = asyncio.get_running_loop().create_task(self._guarded(steps))

    async def _stop_bring_up(self) -> None:
        task, self._bring_up = self._bring_up, None
        if task is not None:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)

    async def _guarded(self, steps: Callable[[], Awaitable[None]]) -> None:
        """Run the steps; an error of theirs fails the worker, visibly."""
        try:
            await steps()
        except (WorkerError, OSError) as error:
            self._fail(str(error))
        except Exception as error:
            logger.exception("unexpected error while bringing the worker up")
            self._fail(f"unexpected {type(error).__name__}: {error}")

    def _fail(self, reason: str) -> None:
        logger.error("the worker failed: %s", reason)
        notify(f"STATUS=failed: {reason}")
        if self.worker.state not in ("draining", "drained"):
            self.worker.machine.apply(Event.FAILED, reason)

    async def _boot(self, imds: Imds, session: aiohttp.ClientSession) -> None:
        worker, deadline = self.worker, asyncio.get_running_loop().time() + BOOT_TIMEOUT_S
        worker.identity = await boot.identify(imds, self._host, deadline)
        aws = Aws(worker.identity.region, worker.identity.instance_id)
        self._hooks = Hooks(aws, worker.started_at)
        worker.user_data = await boot.told(imds, deadline)
        fleet = await boot.fleet_document(aws.fleet_document, worker.user_data, deadline)
        worker.fleet = fleet
        command = engine_command(self._host, fleet)
        await self._listen(fleet.agent_port)
        self._engine = Engine(session, f"http://{worker.identity.address}:{fleet.engine_port}")
        worker.machine.apply(Event.BOOTED)
        if fleet.hydrate:
            await self._hydrate()
        await self._hold(imds)
        self._files.write_engine(command)
        leave = Event.RELEASED if worker.state == "warmed" else Event.HYDRATED
        worker.machine.apply(leave, f"{worker.hydrated_bytes} bytes read")
        notify("READY=1", "STATUS=weights read, engine may start")
        await self._start_engine(worker.started_at + fleet.launch_timeout_s)

    async def _hydrate(self) -> None:
        def progress(count: int) -> None:
            loop.call_soon_threadsafe(add, count)

        def add(count: int) -> None:
            self.worker.hydrated_bytes += count

        loop = asyncio.get_running_loop()
        extend = loop.create_task(self._extend_start())
        try:
            total = await hydrate(self._host.model.path, progress)
        finally:
            extend.cancel()
        self.worker.hydrated_bytes = total

    async def _extend_start(self) -> None:
        """systemd must not give up on the start while weights are read."""
        while True:
            notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_START_S * 1_000_000}", "STATUS=reading weights")
            await asyncio.sleep(_EXTEND_START_S / 3)

    async def _hold(self, imds: Imds) -> None:
        """Wait while the group wants the instance in its warm pool."""
        while True:
            try:
                target = await imds.target_lifecycle_state()
            except UnreachableError as error:
                logger.warning("target lifecycle state: %s", error)
            else:
                if target not in _WARM_TARGETS:
                    return
                if self.worker.state == "hydrating":
                    self.worker.machine.apply(Event.HELD, f"the group wants {target}")
            notify(f"EXTEND_TIMEOUT_USEC={_EXTEND_START_S * 1_000_000}", "STATUS=warm")
            await asyncio.sleep(_INSTANCE_POLL_S)

    async def _start_engine(self, deadline: float) -> None:
        """From `starting` to `ready`; raises WorkerError at the deadline (the worker's clock)."""
        worker, engine, fleet = self.worker, self._engine, self.worker.fleet
        if engine is None or fleet is None:
            raise WorkerError("the engine cannot start before boot is over")
        while True:
            while missing := await engine.missing(fleet):
                if worker.monotonic() >= deadline:
                    raise WorkerError(
                        f"the engine's {missing} did not answer within {fleet.launch_timeout_s:g} s"
                    )
                await asyncio.sleep(_ENGINE_POLL_S)
            worker.machine.apply(Event.ENGINE_UP)
            try:
                worker.engine_version = await engine.version()
                worker.adapters = await engine.adapters()
                await warm_up(engine, fleet)
            except UnreachableError as error:
                if await engine.load() != "down":
                    raise
                worker.machine.apply(Event.ENGINE_LOST, str(error))
                continue
            worker.silent_reads = 0
            worker.machine.apply(Event.WARMED_UP, f"{fleet.warm_up.prompts} generations")
            notify("STATUS=ready")
            return

    def _restart_engine(self) -> None:
        """Wait for the engine (systemd restarts it) and warm it up again."""
        fleet = self.worker.fleet
        if fleet is not None:
            deadline = self.worker.monotonic() + fleet.launch_timeout_s
            self._start(lambda: self._start_engine(deadline))

    # Watching.

    async def _watch_engine(self) -> None:
        worker = self.worker
        reading: Reading = "down"
        if self._engine is not None:
            if worker.state not in ("warming_up", "ready", "draining", "drained"):
                return
            reading = await self._engine.load()
        elif worker.state != "draining":
            return
        if worker.observe(reading):
            self._restart_engine()
        worker.finish_drain()
        if worker.drain and worker.drain.trigger is Trigger.SIGTERM and worker.state == "drained":
            self._leaving.set()

    async def _watch_adapters(self) -> None:
        if self._engine is not None and self.worker.state == "ready":
            try:
                self.worker.adapters = await self._engine.adapters()
            except WorkerError as error:  # the last known ones stay
                logger.warning("adapters: %s", error)

    async def _watch_instance(self, imds: Imds) -> None:
        if not self.worker.identity.instance_id:
            return
        try:
            target = await imds.target_lifecycle_state()
            notice = await imds.spot_notice()
        except UnreachableError as error:
            if self._metadata_failures % _LOG_EVERY == 0:
                logger.warning("instance metadata, last known answers stay: %s", error)
            self._metadata_failures += 1
            return
        self._metadata_failures = 0
        if self._wants_out(target):
            await self._drain(Trigger.TERMINATE, f"the group wants {target}")
        if notice is not None:
            left = notice.at - self.worker.wall() - _SPOT_MARGIN
            reason = f"EC2 will {notice.action} it at {notice.at.isoformat()}"
            await self._drain(Trigger.SPOT, reason, max(0.0, left.total_seconds()))

    def _wants_out(self, target: str | None) -> bool:
        # A group that reuses instances wants a serving one back in its warm pool.
        return target == "Terminated" or (target in _WARM_TARGETS and self.worker.state == "ready")

    async def _watch_hooks(self) -> None:
        worker = self.worker
        if self._hooks is not None:
            terminating = bool(worker.drain and worker.drain.trigger is Trigger.TERMINATE)
            now = worker.monotonic()
            await self._hooks.step(worker.state, worker.machine.reason, terminating, now)

    # Draining.

    async def _drain(self, trigger: Trigger, reason: str, deadline_s: float | None = None) -> None:
        new = self.worker.drain is None
        self.worker.start_drain(trigger, reason, deadline_s)
        if new:
            await self._stop_bring_up()

    def _operator_drain(self, deadline_s: float | None) -> None:
        self.worker.start_drain(Trigger.OPERATOR, "asked on the host", deadline_s)
        if self._bring_up is not None:
            self._bring_up.cancel()

    def _operator_undrain(self) -> None:
        self.worker.undrain()
        self._restart_engine()

    def _on_signal(self) -> None:
        """First: drain, then leave. Second, or with nothing to wait for: leave."""
        notify("STOPPING=1")
        drain = self.worker.drain
        if self.worker.state == "drained" or (drain and drain.trigger is not Trigger.OPERATOR):
            self._leaving.set()
            return
        self.worker.start_drain(Trigger.SIGTERM, "the agent is told to stop")
        if self._bring_up is not None:
            self._bring_up.cancel()
