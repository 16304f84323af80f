"""The agent: wires metadata, AWS, engine and server to one worker."""

from __future__ import annotations

import asyncio
import logging
import os
import signal
from collections.abc import Awaitable, Callable
from contextlib import suppress
from dataclasses import replace
from typing import Any

import aiohttp

from sglworker.aws import Aws
from sglworker.bring_up import BringUp
from sglworker.drain import Reading, Trigger
from sglworker.errors import UnreachableError, WorkerError
from sglworker.files import Files
from sglworker.gpu import Gpus
from sglworker.hooks import Hooks, View
from sglworker.host import process_alive, read_events, read_spot, read_target
from sglworker.imds import DEFAULT_ENDPOINT, Imds
from sglworker.machine import Event
from sglworker.memory import Memory
from sglworker.models import FleetDocument, HostDocument, StateName
from sglworker.notices import Notices, Wish, wishes
from sglworker.notify import notify
from sglworker.server import Server
from sglworker.worker import Worker

logger = logging.getLogger(__name__)

_ENGINE_POLL_S = 0.5
#: An idle engine is seen twice, and the hook completed, within a second.
_DRAIN_POLL_S = 0.2
_INSTANCE_POLL_S = 1.0
_SPOT_POLL_S = 5.0  # what EC2's guide recommends
_EVENTS_POLL_S = 60.0  # they are announced days before
_HOOK_POLL_S = 1.0
_SAVE_POLL_S = 1.0
_ADAPTERS_POLL_S = 5.0  # they are loaded and unloaded while the engine runs
_LIVENESS_POLL_S = 15.0
_GPU_POLL_S = 60.0
#: What an engine that hangs gets to come back by itself; then its group replaces the worker.
_HUNG_RECOVERY_S = 120.0
_LOG_EVERY = 60
#: States in which the engine and its GPUs are needed.
_IN_USE: tuple[StateName, ...] = ("starting", "warming_up", "ready")


class Agent:
    """One worker's agent; `run` returns when SIGTERM's drain is over."""

    def __init__(self, files: Files, host: HostDocument) -> None:
        self.worker = Worker()
        self._files = files
        self._memory = Memory(self.worker, files)
        self._host = host
        self._server = Server(self.worker, self._operator_drain, self._operator_undrain)
        self._way: BringUp | None = None
        self._aws: Aws | None = None
        self._hooks: Hooks | None = None
        self._gpus = Gpus()
        self._notices = Notices()
        self._metadata_failures = 0
        self._port = 0
        self._bringing_up: asyncio.Task[None] | None = None
        self._leaving = asyncio.Event()
        self._hooks_due = asyncio.Event()

    async def run(self) -> None:
        """Until SIGTERM and the end of its drain. Raises OSError when the port is taken."""
        loop = asyncio.get_running_loop()
        for number in (signal.SIGTERM, signal.SIGINT):
            loop.add_signal_handler(number, self._on_signal)
        async with aiohttp.ClientSession(trust_env=False) as session:
            endpoint = os.environ.get("AWS_EC2_METADATA_SERVICE_ENDPOINT") or DEFAULT_ENDPOINT
            imds = Imds(session, endpoint)
            way = self._way = BringUp(self.worker, self._files, self._host, imds, session)
            self._memory.load()
            await self._listen(FleetDocument.model_fields["agent_port"].default)
            self._start(lambda: way.boot(self._booted, self._listen))
            try:
                async with asyncio.TaskGroup() as group:
                    group.create_task(self._watch_engine_always())
                    group.create_task(
                        self._every(_INSTANCE_POLL_S, lambda: self._read(imds, read_target))
                    )
                    group.create_task(
                        self._every(_SPOT_POLL_S, lambda: self._read(imds, read_spot))
                    )
                    group.create_task(
                        self._every(_EVENTS_POLL_S, lambda: self._read(imds, read_events))
                    )
                    group.create_task(self._every(_HOOK_POLL_S, self._watch_hooks, self._hooks_due))
                    group.create_task(self._every(_ADAPTERS_POLL_S, self._watch_adapters))
                    group.create_task(self._every(_SAVE_POLL_S, self._remember))
                    group.create_task(self._every(_LIVENESS_POLL_S, self._watch_liveness))
                    if self._gpus.present:
                        group.create_task(self._every(_GPU_POLL_S, self._watch_gpus))
            finally:
                await self._stop_bringing_up()
                self._memory.save()
                if self._aws is not None:
                    await self._aws.close()
                await self._server.close()

    async def _remember(self) -> None:
        self._memory.save()

    async def _every(
        self, interval_s: float, step: Callable[[], Awaitable[None]],
        due: asyncio.Event | None = None,
    ) -> None:  # fmt: skip
        """Each interval, or when `due` is set, until the agent leaves."""
        due = due or self._leaving
        while not self._leaving.is_set():
            await self._look(step)
            with suppress(TimeoutError):
                await asyncio.wait_for(due.wait(), interval_s)
            if due is not self._leaving:
                due.clear()

    async def _watch_engine_always(self) -> None:
        while not self._leaving.is_set():
            await self._look(self._watch_engine)
            interval_s = _DRAIN_POLL_S if self.worker.state == "draining" else _ENGINE_POLL_S
            with suppress(TimeoutError):
                await asyncio.wait_for(self._leaving.wait(), interval_s)

    async def _look(self, step: Callable[[], Awaitable[None]]) -> None:
        try:
            await step()
        except Exception:  # a bug in one look must not end the agent
            logger.exception("unexpected error")

    async def _listen(self, port: int) -> None:
        if port == self._port:
            return
        self._port = port
        actual = await self._server.listen(self._host.bind, port)
        wildcard = self._host.bind in ("0.0.0.0", "::")  # noqa: S104
        self._files.write_agent(f"http://{'127.0.0.1' if wildcard else self._host.bind}:{actual}")

    # Bringing up.

    def _start(self, steps: Callable[[], Awaitable[None]]) -> None:
        self._bringing_up = asyncio.get_running_loop().create_task(self._guarded(steps))

    async def _stop_bringing_up(self) -> None:
        task, self._bringing_up = self._bringing_up, None
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

    def _booted(self, aws: Aws) -> None:
        self._aws = aws
        self._hooks = Hooks(aws, self.worker.started_at)

    def _fail(self, reason: str) -> None:
        logger.error("the worker failed: %s", reason)
        notify(f"STATUS=failed: {reason}")
        if self.worker.state not in ("draining", "drained", "failed"):
            self.worker.machine.apply(Event.FAILED, reason)

    def _restart_engine(self, within_s: float | None = None) -> None:
        """Wait for the engine (systemd restarts it) and warm it up again."""
        fleet, way = self.worker.fleet, self._way
        if fleet is not None and way is not None:
            deadline = self.worker.monotonic() + (within_s or fleet.launch_timeout_s)
            self._start(lambda: way.start_engine(deadline, within_s))

    # Watching.

    async def _watch_engine(self) -> None:
        worker, engine = self.worker, self._way.engine if self._way else None
        if worker.state in _IN_USE and (
            loop := worker.starts.loop(worker.monotonic(), process_alive)
        ):
            await self._give_up(loop)
            return
        reading: Reading = "down"
        if engine is not None:
            if worker.state not in ("warming_up", "ready", "draining", "drained"):
                return
            reading = await engine.load()
        elif worker.state != "draining":
            return
        if worker.observe(reading):
            self._restart_engine()
        if worker.finish_drain():
            self._drained()

    def _drained(self) -> None:
        self._hooks_due.set()
        drain, way = self.worker.drain, self._way
        if drain is not None and drain.trigger is Trigger.SIGTERM:
            self._leaving.set()
        if drain is not None and drain.trigger is Trigger.WARM_POOL and way is not None:
            self._start(way.return_to_pool)

    async def _give_up(self, reason: str) -> None:
        await self._stop_bringing_up()
        self._fail(reason)
        self._hooks_due.set()

    async def _watch_liveness(self) -> None:
        engine = self._way.engine if self._way else None
        if engine is None or self.worker.state != "ready":
            return
        if self.worker.check(await engine.generates()):
            self._restart_engine(_HUNG_RECOVERY_S)

    async def _watch_gpus(self) -> None:
        if (fault := await self._gpus.fault()) and self.worker.state in _IN_USE:
            await self._give_up(fault)

    async def _watch_adapters(self) -> None:
        engine = self._way.engine if self._way else None
        if engine is not None and self.worker.state == "ready":
            try:
                self.worker.adapters = await engine.adapters()
            except WorkerError as error:  # the last known ones stay
                logger.warning("adapters: %s", error)

    async def _read(self, imds: Imds, read: Callable[[Imds], Awaitable[dict[str, Any]]]) -> None:
        if not self.worker.identity.instance_id:
            return
        worker, before = self.worker, self.worker.state
        try:
            news = await read(imds)
        except UnreachableError as error:
            if self._metadata_failures % _LOG_EVERY == 0:
                logger.warning("instance metadata, last known answers stay: %s", error)
            self._metadata_failures += 1
            return
        self._metadata_failures = 0
        if news != (known := {name: getattr(self._notices, name) for name in news}):
            logger.info("instance metadata: %s, before %s", news, known)
            self._notices = replace(self._notices, **news)
        # While booting, an engine of an earlier agent may have streams: soon it can be asked.
        # Only what is fresh counts: a target read before the pool was left would lead back there.
        if before == worker.state != "booting":
            for wish in wishes(Notices(**news), worker.state, worker.fleet, worker.wall()):
                await self._drain(wish)

    async def _watch_hooks(self) -> None:
        worker = self.worker
        if self._hooks is not None:
            trigger = worker.drain.trigger if worker.drain else None
            view = View(worker.state, worker.machine.reason, trigger, worker.load.busy)
            await self._hooks.step(view, worker.monotonic())

    # Draining.

    async def _drain(self, wish: Wish) -> None:
        """Begin or join a drain, once for each trigger: a wish is read again and again."""
        drain = self.worker.drain
        if drain is not None and wish.trigger in drain.triggers:
            return
        if drain is None or wish.trigger is Trigger.TERMINATE:
            await self._stop_bringing_up()
        self.worker.start_drain(wish.trigger, wish.reason, wish.deadline_s)
        self._hooks_due.set()
        if self.worker.state == "drained":  # somebody else's drain was over already
            self._drained()

    def _operator_drain(self, deadline_s: float | None) -> None:
        self.worker.start_drain(Trigger.OPERATOR, "asked on the host", deadline_s)
        self._memory.save()
        if self._bringing_up is not None and self.worker.state == "draining":
            self._bringing_up.cancel()

    def _operator_undrain(self) -> None:
        self.worker.undrain()
        self._memory.save()
        self._restart_engine()

    def _on_signal(self) -> None:
        """First: drain, then leave. Second, or with nothing to wait for: leave."""
        notify("STOPPING=1")
        idle = self.worker.state in ("warmed", "drained")
        drain = self.worker.drain
        if idle or (drain and drain.trigger is not Trigger.OPERATOR):
            self._leaving.set()
            return
        self.worker.start_drain(Trigger.SIGTERM, "the agent is told to stop")
        if self._bringing_up is not None:
            self._bringing_up.cancel()
