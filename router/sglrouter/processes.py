"""Several processes behind one port: the parent, which is supervisor and control plane.

Data processes serve; the parent finds workers and peers, reads secrets, answers operators and
tells them all. A data process that ends fails the streams on it and nothing else: its listening
socket is the parent's, another accepts from it meanwhile, and it is started again.
"""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import traceback
from contextlib import ExitStack, suppress
from dataclasses import dataclass, field

from sglrouter.access.key_source import secrets_dump
from sglrouter.control import Control
from sglrouter.data_plane import POLL_S, keep_ticking
from sglrouter.errors import StartError
from sglrouter.inner import BUILT
from sglrouter.listener import make_listeners
from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.processes_sums import Sums, others_of, share_of, view_of
from sglrouter.reload import Change
from sglrouter.rescue.adoption import make_adoption, turn_away
from sglrouter.serving.core import Router
from sglrouter.shared import (
    INTERVAL_S,
    Channel,
    Counts,
    Document,
    Listen,
    Ready,
    Secrets,
    Stop,
    View,
    encode,
    make_memory,
    map_memory,
)

START_S = 60.0
# A data process that has said nothing for so long, or taken nothing, is ended.
HUNG_S, MAX_WAITING_BYTES = 30.0, 64 * 1024 * 1024
# Clients of dead processes wait so long for one that takes them.
ABANDONED_S = 15.0
# Before a data process is started again; doubles while it does not live for WELL_S.
DELAY_S, MAX_DELAY_S, WELL_S = 0.1, 5.0, 10.0
# After its deadline a data process still writes what it cut.
END_S = 5.0


@dataclass(slots=True)
class Child:
    """A data process. `listeners` are the numbers of those it accepts from."""

    number: int
    process: asyncio.subprocess.Process
    channel: Channel
    heard_at: float
    ready: bool = False
    listeners: list[int] = field(default_factory=list)
    told: View | None = None  # the view it has

    def kill(self) -> None:
        with suppress(ProcessLookupError):
            self.process.kill()


def assign(ready: list[int], count: int) -> dict[int, list[int]]:
    """Process → listeners: each its own, and those of missing processes the next ones after."""
    assigned: dict[int, list[int]] = {number: [] for number in ready}
    for listener in range(count if ready else 0):
        owner = next(n for k in range(count) if (n := (listener + k) % count) in assigned)
        assigned[owner].append(listener)
    return assigned


class Supervisor:
    """`start`, any number of `reload`, then `drain` and `stop`. Needs a running loop."""

    def __init__(self, document: RouterDocument, log: Log) -> None:
        self.log = log
        self.port = 0
        self.hurry = asyncio.Event()
        self._memory = make_memory(document.affinity.index_bytes)
        self.router = Router(document, log, memory=map_memory(self._memory))
        self.control = Control(self.router, self._tell_secrets)
        self._count = document.listen.processes
        self._children: dict[int, Child] = {}
        self._sums = Sums(self.router)
        self._listeners: list[socket.socket] = []
        self._adoption = make_adoption()
        self._keepers: list[asyncio.Task[None]] = []
        self._ending = False

    @property
    def admin_port(self) -> int:
        return self.control.admin_port

    async def start(self) -> None:
        """Listen, start the data processes. Raises StartError, DocumentError."""
        document = self.router.document
        listen = document.listen
        self._listeners = make_listeners(listen.host, listen.port, self._count)
        self.port = int(self._listeners[0].getsockname()[1])
        await self.control.start()
        self.control.spawn(keep_ticking(self.router))
        self.control.spawn(self._tell_all())
        self._keepers = [asyncio.create_task(self._keep(n)) for n in range(self._count)]
        deadline = self.router.clock() + START_S
        while sum(child.ready for child in self._children.values()) < self._count:
            if self.router.clock() > deadline:
                raise StartError(f"the {self._count} processes did not start within {START_S:g} s")
            await asyncio.sleep(POLL_S)
        fields = {"listen": f"{listen.host}:{self.port}", "admin_port": self.admin_port}
        pids = [child.process.pid for child in self._children.values()]
        self.log.write(
            "started",
            {
                "environment": document.environment,
                "native": BUILT,
                **fields,
                "processes": pids,
            },
        )

    # one data process

    async def _keep(self, number: int) -> None:
        """Run a data process again and again, until the router ends."""
        delay = 0.0
        while not self._ending:
            await asyncio.sleep(delay)
            if self._ending:
                return
            began = self.router.clock()
            fields: dict[str, object] = {"process": number}
            try:
                fields["status"] = await self._run(number)
            except Exception:  # a defect here must not leave the listener without a process
                fields["traceback"] = traceback.format_exc()
            if not self._ending:
                self.log.write("process_ended", fields)
            well = self.router.clock() - began > WELL_S
            delay = DELAY_S if well else min(MAX_DELAY_S, max(DELAY_S, 2 * delay))

    async def _run(self, number: int) -> int:
        """Start a data process and listen to it; returns its exit status."""
        ours, theirs = socket.socketpair()
        with theirs, ExitStack() as stack:
            stack.callback(ours.close)
            sockets = [*self._adoption, *self._listeners]
            inherited = [theirs.fileno(), self._memory, *(s.fileno() for s in sockets)]
            process = await asyncio.create_subprocess_exec(
                sys.executable,
                "-m",
                "sglrouter.data_start",
                *map(str, inherited),
                pass_fds=inherited,
            )
            stack.pop_all()
        child = Child(number, process, await Channel.open(ours), self.router.clock())
        watch = asyncio.create_task(self._close_at_end(child))
        try:
            self._children[number] = child
            self._introduce(child)
            while (message := await child.channel.receive()) is not None:
                child.heard_at = self.router.clock()
                if isinstance(message, Counts):
                    self._sums.take(number, message.dump)
                elif isinstance(message, Ready):
                    child.ready = True
                    self._assign()
        finally:
            status = await self._bury(child)
            watch.cancel()
        return status

    async def _close_at_end(self, child: Child) -> None:
        """Its keeper has the other end of the channel, too, and might be stuck."""
        await child.process.wait()
        child.channel.close()

    def _introduce(self, child: Child) -> None:
        child.told = view_of(self.router)
        child.channel.send(
            encode(self._document()),
            encode(Secrets(secrets_dump(self.router))),
            encode(child.told),
            encode(others_of(self.router, self._sums, child.number)),
        )
        if self._ending:
            child.channel.send(encode(Stop()))

    async def _bury(self, child: Child) -> int:
        """Its channel has ended, or the router stops: it ends too. Others take its connections."""
        del self._children[child.number]
        self._sums.ended(child.number)
        self._assign()
        child.channel.close()
        try:
            async with asyncio.timeout(END_S):
                return await child.process.wait()
        except (TimeoutError, asyncio.CancelledError):
            child.kill()
            return await child.process.wait()

    def _assign(self) -> None:
        ready = [child.number for child in self._children.values() if child.ready]
        for number, listeners in assign(ready, self._count).items():
            child = self._children[number]
            if listeners != child.listeners:
                child.listeners = listeners
                child.channel.send(encode(Listen(listeners)))

    # telling

    def _document(self) -> Document:
        return Document(share_of(self.router.document, self._count).model_dump_json())

    def _tell(self, line: bytes) -> None:
        for child in self._children.values():
            child.channel.send(line)

    def _tell_secrets(self) -> None:
        self._tell(encode(Secrets(secrets_dump(self.router))))

    async def _tell_all(self) -> None:
        """What the parent knows, to every data process, until cancelled."""
        told_at = served_at = self.router.clock()
        while True:
            now = self.router.clock()
            if now - told_at > 1.0:  # this process hung, not those: what they said is unread
                for child in self._children.values():
                    child.heard_at = now
            told_at = now
            if any(child.ready for child in self._children.values()):
                served_at = now
            elif now - served_at > ABANDONED_S:
                turn_away(self._adoption[0])
            self._tell_view()
            for child in self._children.values():
                child.channel.send(encode(others_of(self.router, self._sums, child.number)))
                if now - child.heard_at > HUNG_S or child.channel.waiting > MAX_WAITING_BYTES:
                    self.log.write("process_hung", {"process": child.number})
                    child.kill()
            await asyncio.sleep(INTERVAL_S)

    def _tell_view(self) -> None:
        """To every data process that has another."""
        view, line = view_of(self.router), b""
        for child in self._children.values():
            if child.told != view:
                child.told, line = view, line or encode(view)
                child.channel.send(line)

    async def reload(self, document: RouterDocument) -> Change:
        change = await self.control.reload(document)
        if change.keys:
            self._tell(encode(self._document()))
            for child in self._children.values():
                child.told = None  # workers of a fleet it did not know were left out
            self._tell_secrets()  # after the document that names them
        return change

    # the end

    async def drain(self) -> None:
        """Every data process turns away, finishes and cuts, as `DataPlane.drain` does."""
        router, limits = self.router, self.router.document.limits
        self._ending = router.draining = True
        in_flight = sum(fleet.in_flight for fleet in router.workers.fleets.values())
        self.log.write("draining", {"in_flight": in_flight})
        self._tell(encode(Stop()))
        await self._wait(limits.drain_notice_s)
        router.stopping = True
        self._close_listeners()
        await self._wait(limits.drain_s + END_S)
        if self.hurry.is_set():
            self._tell(encode(Stop(hurry=True)))
            await asyncio.wait(self._keepers, timeout=END_S)

    async def _wait(self, seconds: float) -> None:
        """Wait `seconds`, or until hurried, or until no data process is left."""
        deadline = self.router.clock() + seconds
        while self.router.clock() < deadline and not self.hurry.is_set():
            if not self._children:
                return
            await asyncio.sleep(POLL_S)

    def _close_listeners(self) -> None:
        for sock in self._listeners:
            sock.close()

    async def stop(self) -> None:
        """End what still runs and close everything."""
        self._ending = True
        for child in self._children.values():
            child.kill()
        for task in self._keepers:
            task.cancel()
        await asyncio.gather(*self._keepers, return_exceptions=True)
        await self.control.stop()
        self._close_listeners()
        for end in self._adoption:
            end.close()
        os.close(self._memory)
        self.log.write("stopped", {})
