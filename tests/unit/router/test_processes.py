"""Several processes behind one port: one view, one sum, and each can die alone."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import time
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import pytest

from sglrouter import processes
from sglrouter.log import Log
from sglrouter.models import RouterDocument
from sglrouter.processes import Supervisor
from tests.unit.router.command import DEADLINE_S, serving

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENT = b"9\r\ndata: 1\n\n\r\n"
END = b"0\r\n\r\n"


async def eventually(condition) -> None:
    """Wait for what processes do: on a busy machine that is seconds."""
    deadline = time.monotonic() + DEADLINE_S
    while not condition():
        assert time.monotonic() < deadline, "it did not happen"
        await asyncio.sleep(0.02)


async def eventually_is(expected, ask, *arguments) -> None:
    deadline = time.monotonic() + DEADLINE_S
    while (found := await ask(*arguments)) != expected:
        assert time.monotonic() < deadline, f"still {found}"
        await asyncio.sleep(0.02)


class Held:
    """A worker's handler: a body with "held" streams until `go`, anything else is answered."""

    def __init__(self, lab) -> None:
        self.lab = lab
        self.go = asyncio.Event()

    async def __call__(self, request, writer):
        if b'"held"' not in request.body:
            await self.lab.plain()(request, writer)
            return
        writer.write(SSE_HEAD + EVENT)
        await self.go.wait()
        writer.write(EVENT + END)


@asynccontextmanager
async def routed(lab, folder, *flags, count=2, **document):
    """(router of `count` processes, its worker's handler); `document`: what flags do not say."""
    held = Held(lab)
    worker = lab.FakeWorker(held)
    await worker.start()
    path = folder / "router.json"
    listen = {"host": "127.0.0.1", "port": 0, "admin_host": "127.0.0.1", "admin_port": 0}
    kind = {"kind": "static", "workers": [{"url": f"http://{worker.id}", "fleet": "chat"}]}
    base = {"environment": "local", "fleets": {"chat": {"models": ["tiny"]}}, "discovery": kind}
    path.write_text(json.dumps({**base, "listen": {**listen, "processes": count}, **document}))
    try:
        async with serving(lab, folder, "--config", str(path)) as router:
            yield router, held
    finally:
        await worker.stop()


def open_files(pid) -> set[Path]:
    """What a process has open now; it goes on opening and closing meanwhile."""
    found = set()
    for descriptor in Path(f"/proc/{pid}/fd").iterdir():
        with suppress(FileNotFoundError):
            found.add(descriptor.readlink())
    return found


def owner_of(router, client) -> int:
    """The data process that has accepted the client's connection (proc_net(5), proc_pid_fd(5))."""
    port = client.writer.get_extra_info("sockname")[1]
    rows = [line.split() for line in Path("/proc/net/tcp").read_text().splitlines()[1:]]
    ends = f":{router.port:04X}", f":{port:04X}"
    # A set: the table changes while it is read, and a row may then be there twice.
    (inode,) = {r[9] for r in rows if r[1].endswith(ends[0]) and r[2].endswith(ends[1])}
    link = Path(f"socket:[{inode}]")
    (pid,) = [pid for pid in router.children() if link in open_files(pid)]
    return pid


async def streams(lab, router, each):
    """`each` held streams on every data process, past their first byte: [(pid, client)]."""
    wanted = dict.fromkeys(router.children(), each)
    found = []
    for _ in range(200):
        client = await router.client()
        client.writer.write(lab.post({"model": "tiny", "held": 1}))
        await asyncio.wait_for(client.reader.readuntil(EVENT), 20)
        pid = owner_of(router, client)
        if wanted[pid] == 0:
            client.writer.transport.abort()
            continue
        wanted[pid] -= 1
        found.append((pid, client))
        if not any(wanted.values()):
            return found
    raise AssertionError(f"one process gets nothing: {wanted}")


async def whole(client) -> bool:
    """Whether the stream ended as it should."""
    try:
        return (await asyncio.wait_for(client.reader.readuntil(END), 20)).endswith(EVENT + END)
    except (asyncio.IncompleteReadError, OSError):
        return False


async def endings(found) -> list[bool]:
    """Whether each stream said that the router stops, and did not pretend to be whole."""
    ended = []
    for _, client in found:
        rest = await asyncio.wait_for(client.reader.read(), 30)
        ended.append(b"The router is stopping" in rest and b"[DONE]" not in rest)
        client.writer.close()
    return ended


def test_a_killed_process_fails_its_own_streams_and_the_port_never_refuses(lab, tmp_path):
    """New connections are answered all the while, the streams of the other process end whole,
    nothing stays counted as running, and the process comes back."""

    async def scenario():
        async with routed(lab, tmp_path) as (router, held):
            found = await streams(lab, router, each=2)
            await router.settles("sglrouter_in_flight", 4)
            await router.settles("sglrouter_worker_in_flight", 4)
            victim = found[0][0]
            asked = router.lab.post({"model": "tiny"})
            os.kill(victim, signal.SIGKILL)
            statuses = [(await router.ask(asked)).status for _ in range(60)]
            await router.event("process_ended", status=-9)
            statuses += [(await router.ask(asked)).status for _ in range(20)]
            assert statuses == [200] * 80
            await router.settles("sglrouter_worker_in_flight", 2)
            held.go.set()
            outcomes = [(pid, await whole(client)) for pid, client in found]
            assert outcomes == [(pid, pid != victim) for pid, _ in found]
            await router.settles("sglrouter_in_flight", 0)
            await router.settles("sglrouter_worker_in_flight", 0)
            await eventually(lambda: len(router.children()) == 2)
            held.go.clear()
            again = await streams(lab, router, each=1)
            assert {pid for pid, _ in again} == set(router.children())
            for _, client in found + again:
                client.writer.transport.abort()
            await router.settles("sglrouter_worker_in_flight", 0)
            counted = await router.metric("sglrouter_requests_total")
            assert counted >= 80

    lab.run(scenario())


def test_a_process_that_hangs_is_replaced(lab, monkeypatch):
    """Stopped, it answers nothing: it is ended, and its connections are another's."""

    async def scenario():
        worker = lab.FakeWorker()
        await worker.start()
        kind = {"kind": "static", "workers": [{"url": f"http://{worker.id}", "fleet": "chat"}]}
        data = {
            "environment": "local",
            "listen": {"host": "127.0.0.1", "port": 0, "admin_port": 0, "processes": 2},
            "fleets": {"chat": {"models": ["tiny"]}},
            "discovery": kind,
        }
        supervisor = Supervisor(
            RouterDocument.model_validate(data), Log(os.open(os.devnull, os.O_WRONLY))
        )
        try:
            await supervisor.start()
            monkeypatch.setattr(processes, "HUNG_S", 1.0)
            before = {n: child.process for n, child in supervisor._children.items()}
            before[0].send_signal(signal.SIGSTOP)
            await eventually(lambda: before[0].returncode is not None)
            monkeypatch.undo()  # a process that starts is silent for longer
            children = supervisor._children
            await eventually(lambda: len(children) == 2 and all(c.ready for c in children.values()))
            assert supervisor._children[1].process is before[1]
            assert supervisor._children[0].process is not before[0]
        finally:
            await supervisor.stop()
            await worker.stop()
            supervisor.log.close()

    lab.run(scenario())


def test_sigterm_turns_away_in_every_process_and_a_second_one_cuts(lab, tmp_path):
    """503 from each of them, while requests are still served; then nothing listens any more."""

    async def scenario():
        async with routed(lab, tmp_path, limits={"drain_notice_s": 600}) as (router, _):
            found = await streams(lab, router, each=1)
            router.stop()
            await router.event("draining", 3)
            health = [
                (await router.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")).status
                for _ in range(8)
            ]
            assert health == [503] * 8
            assert (await router.ask(lab.post({"model": "tiny"}))).status == 200
            router.stop()
            assert await endings(found) == [True, True]
            assert await router.ended() == 0
            with pytest.raises(ConnectionRefusedError):
                await router.client()

    lab.run(scenario())


def test_what_runs_at_the_deadline_is_cut_and_logged_by_every_process(lab, tmp_path):
    async def scenario():
        limits = {"drain_notice_s": 0, "drain_s": 0.5}
        async with routed(lab, tmp_path, limits=limits) as (router, _):
            found = await streams(lab, router, each=1)
            router.stop()
            assert await endings(found) == [True, True]
            assert await router.ended() == 0
            cut = [line for line in router.lines() if line["event"] == "stream_cut"]
            assert [line["phase"] for line in cut] == ["streaming"] * 2

    lab.run(scenario())


def test_streams_that_end_in_time_end_the_drain(lab, tmp_path):
    async def scenario():
        limits = {"drain_notice_s": 0.2, "drain_s": 3600}
        async with routed(lab, tmp_path, limits=limits) as (router, held):
            found = await streams(lab, router, each=1)
            router.stop()
            await router.event("draining", 3)
            held.go.set()
            assert [await whole(client) for _, client in found] == [True, True]
            assert await router.ended() == 0
            assert not [x for x in router.lines() if x["event"] == "stream_cut"]
            for _, client in found:
                client.writer.close()

    lab.run(scenario())


def test_nothing_is_accepted_while_the_last_streams_run(lab, tmp_path):
    """A listener that is open somewhere takes connections which nobody would answer."""

    async def refused(port):
        try:
            _, writer = await asyncio.open_connection("127.0.0.1", port)
        except ConnectionRefusedError:
            return True
        writer.transport.abort()
        return False

    async def scenario():
        limits = {"drain_notice_s": 0, "drain_s": 3600}
        async with routed(lab, tmp_path, limits=limits) as (router, held):
            found = await streams(lab, router, each=1)
            router.stop()
            await eventually_is(True, refused, router.port)
            held.go.set()
            assert [await whole(client) for _, client in found] == [True, True]
            assert await router.ended() == 0
            for _, client in found:
                client.writer.close()

    lab.run(scenario())


def test_sighup_reaches_every_process_and_cuts_no_stream(lab, tmp_path):
    """A new key file and a new model are known to each of them; a wrong document to none."""
    keys = [tmp_path / "first", tmp_path / "second"]
    keys[0].write_text('{"a": "sk-11111111"}')
    keys[1].write_text('{"a": "sk-22222222"}')

    async def scenario():
        path = tmp_path / "router.json"
        async with routed(lab, tmp_path) as (router, held):
            found = await streams(lab, router, each=1)
            data = json.loads(path.read_text())
            path.write_text(json.dumps({**data, "keys": {"file": str(keys[0])}, "fleets": {}}))
            router.reload()
            assert (await router.event("reload"))["outcome"] == "refused"
            fleets = {"chat": {"models": ["tiny", "new"]}}
            path.write_text(json.dumps({**data, "keys": {"file": str(keys[0])}, "fleets": fleets}))
            router.reload()
            assert (await router.event("reload", 2))["outcome"] == "applied"

            async def statuses(key):
                ask = lab.post({"model": "new"}, headers=f"Authorization: Bearer {key}\r\n")
                return {(await router.ask(ask)).status for _ in range(16)}

            await eventually_is({200}, statuses, "sk-11111111")
            assert await statuses("sk-22222222") == {401}
            path.write_text(json.dumps({**data, "keys": {"file": str(keys[1])}, "fleets": fleets}))
            router.reload()
            await eventually_is({200}, statuses, "sk-22222222")
            assert await statuses("sk-11111111") == {401}
            held.go.set()
            assert [await whole(client) for _, client in found] == [True, True]
            for _, client in found:
                client.writer.close()

    lab.run(scenario())


def test_data_processes_end_with_their_parent_after_their_streams(lab, tmp_path):
    """Even when it is killed: nobody holds the port for ever."""

    async def scenario():
        limits = {"drain_notice_s": 0, "drain_s": 3600}
        async with routed(lab, tmp_path, limits=limits) as (router, held):
            found = await streams(lab, router, each=1)
            children = router.children()
            router.stop(signal.SIGKILL)
            await router.ended()
            await router.event("draining", 2)
            held.go.set()
            assert [await whole(client) for _, client in found] == [True, True]
            await eventually(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
            for _, client in found:
                client.writer.close()

    lab.run(scenario())
