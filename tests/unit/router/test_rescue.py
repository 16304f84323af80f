"""Clients of a data process that is killed: another one goes on with them."""

from __future__ import annotations

import asyncio
import mmap
import os
import resource
import signal
import socket
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from sglrouter import inner
from sglrouter.inner.row import ANSWERING, IDLE, NONE, WAITING, WAITING_AGAIN
from sglrouter.inner.row import Row as RowInPython
from sglrouter.rescue import journal as journals
from sglrouter.rescue import keeper
from sglrouter.rescue.adoption import make_adoption, turn_away
from sglrouter.rescue.counted import bytes_read, bytes_written
from sglrouter.rescue.journal import PLACE_BYTES, ROWS, Journal
from tests.unit.router.test_processes import (
    END,
    EVENT,
    SSE_HEAD,
    eventually,
    open_files,
    owner_of,
    routed,
)

KEEPER = "sglrouter-keep"
POISONED = """
import os, signal
from sglrouter.serving import core
read_body = core.read_body
def poisoned(head, body):
    if b"poison" in body:
        os.kill(os.getpid(), signal.SIGKILL)
    return read_body(head, body)
core.read_body = poisoned
"""
# Killed once: before the first byte of an answer goes to the kernel, or after the last one.
KILLED_ONCE = """
import os, signal
from sglrouter.serving.core import Exchange
{name} = Exchange.{name}
def killed(self, *args):
    result = {name}(self, *args) if "{name}" == "_head" else None
    if b"fatal" in self.request.body:
        try:
            os.close(os.open(os.environ["KILLED"], os.O_CREAT | os.O_EXCL))
        except FileExistsError:
            pass
        else:
            os.kill(os.getpid(), signal.SIGKILL)
    return result or {name}(self, *args)
Exchange.{name} = killed
"""
# Writes down what the process and what the kernel have counted, whenever a client is idle.
COUNTED = """
import os, socket
from sglrouter.serving import core
from sglrouter.rescue.connection import RescuedConnection
from sglrouter.rescue.counted import bytes_written
rest = RescuedConnection.rest
def counted(self):
    rest(self)
    if self._row.state == 1:
        with socket.socket(fileno=os.dup(self.transport.get_extra_info("socket").fileno())) as own:
            kernel = bytes_written(own)
        with open(os.environ["COUNTS"], "a") as file:
            file.write(f"{self._written} {kernel}\\n")
RescuedConnection.rest = counted
"""
ROW_TYPES = [RowInPython, inner.Row] if inner.BUILT else [RowInPython]


def keepers(group: int) -> list[int]:
    """Keepers among the processes of a session (proc_pid_stat(5))."""
    found = []
    for stat in Path("/proc").glob("[0-9]*/stat"):
        try:
            pid, _, rest = stat.read_text().partition(" (")
        except (FileNotFoundError, ProcessLookupError):
            continue
        name, _, fields = rest.rpartition(") ")
        if name == KEEPER and int(fields.split()[3]) == group and fields[0] != "Z":
            found.append(int(pid))
    return found


class Gate:
    """A worker's handler: answers "wait" with the body it got, once the gate is open; "held"
    streams an event and no more; anything else is answered at once."""

    def __init__(self) -> None:
        self.open = asyncio.Event()
        self.waiting = self.fatal = 0

    async def __call__(self, request, writer):
        self.fatal += b'"fatal"' in request.body
        if b'"held"' in request.body:
            writer.write(SSE_HEAD + EVENT)
            return
        if b'"wait"' in request.body:
            self.waiting += 1
            await self.open.wait()
        head = f"HTTP/1.1 200 OK\r\ncontent-length: {len(request.body)}\r\n\r\n"
        writer.write(head.encode() + request.body)


async def on_victim(router, count):
    """(victim, its `count` clients): all of one data process, after one answer each."""
    of: dict[int, list] = {}
    for _ in range(400):
        client = await router.client()
        client.writer.write(router.lab.post({"model": "tiny"}))
        assert (await client.answer()).status == 200
        pid = owner_of(router, client)
        of.setdefault(pid, []).append(client)
        if len(of[pid]) == count:
            chosen = of.pop(pid)
            for other in (client for clients in of.values() for client in clients):
                other.writer.transport.abort()
            return pid, chosen
    raise AssertionError("one process gets nothing")


def patched(tmp_path, monkeypatch, program):
    """Run `program` at the start of every process of the router."""
    (tmp_path / "sitecustomize.py").write_text(program)
    monkeypatch.setenv("PYTHONPATH", os.pathsep.join([str(tmp_path), *sys.path]))


def body_of(request: bytes) -> bytes:
    return request.partition(b"\r\n\r\n")[2]


@pytest.fixture
def gated(lab, tmp_path, monkeypatch):
    """`async with gated() as (router, gate)`: a router of two processes before a Gate."""
    from tests.unit.router import test_processes

    gates = []

    def held(lab):
        gates.append(Gate())
        return gates[-1]

    monkeypatch.setattr(test_processes, "Held", held)
    return lambda **document: routed(lab, tmp_path, **document)


def test_what_had_no_first_byte_is_answered_by_another_process(lab, gated):
    """Requests that wait, long and short, half requests and idle connections outlive a kill;
    the stream on the process does not."""

    async def scenario():
        async with gated() as (router, gate):
            victim, (short, long, half, idle, stream) = await on_victim(router, 5)
            asked = {
                short: lab.post({"model": "tiny", "wait": 1}),
                long: lab.post({"model": "tiny", "wait": "x" * 5 * PLACE_BYTES}),
            }
            for client, request in asked.items():
                client.writer.write(request)
            asked[half] = lab.post({"model": "tiny", "half": "y" * 300})
            half.writer.write(asked[half][:-200])
            stream.writer.write(lab.post({"model": "tiny", "held": 1}))
            await asyncio.wait_for(stream.reader.readuntil(EVENT), 20)
            await eventually(lambda: gate.waiting == 2)
            os.kill(victim, signal.SIGKILL)
            await eventually(lambda: gate.waiting == 4)
            half.writer.write(asked[half][-200:])
            asked[idle] = lab.post({"model": "tiny", "idle": 1})
            idle.writer.write(asked[idle])
            gate.open.set()
            for client, request in asked.items():
                answer = await asyncio.wait_for(client.answer(), 20)
                assert (answer.status, answer.body) == (200, body_of(request))
                assert owner_of(router, client) != victim
            with pytest.raises((asyncio.IncompleteReadError, OSError)):
                await asyncio.wait_for(stream.reader.readuntil(END), 20)
            await router.settles("sglrouter_clients_taken_over_total", 4)
            for client in [*asked, stream]:
                client.writer.transport.abort()
            await router.settles("sglrouter_in_flight", 0)
            await router.settles("sglrouter_worker_in_flight", 0)

    lab.run(scenario())


def test_a_request_that_meets_two_deaths_is_given_up(lab, gated):
    """It may be what they died of: its connection ends, and the third process lives."""

    async def scenario():
        async with gated() as (router, gate):
            _, (client, idle) = await on_victim(router, 2)
            client.writer.write(lab.post({"model": "tiny", "wait": 1}))
            for deaths in (1, 2):
                await eventually(lambda deaths=deaths: gate.waiting == deaths)
                await eventually(lambda: len(router.children()) == 2)
                os.kill(owner_of(router, client), signal.SIGKILL)
            assert not (await asyncio.wait_for(client.answer(), 20)).complete
            idle.writer.write(lab.post({"model": "tiny"}))
            assert (await asyncio.wait_for(idle.answer(), 20)).status == 200
            for each in (client, idle):
                each.writer.transport.abort()

    lab.run(scenario())


def test_a_request_that_kills_whoever_reads_it_kills_two(lab, gated, tmp_path, monkeypatch):
    """And takes nobody along: those handed on with it are served."""
    patched(tmp_path, monkeypatch, POISONED)

    async def scenario():
        async with gated() as (router, _):
            _, (poison, *idle) = await on_victim(router, 12)
            poison.writer.write(lab.post({"model": "tiny", "poison": 1}))
            assert not (await asyncio.wait_for(poison.answer(), 20)).complete
            for client in idle:
                client.writer.write(lab.post({"model": "tiny"}))
                assert (await asyncio.wait_for(client.answer(), 20)).status == 200
            for client in [poison, *idle]:
                client.writer.transport.abort()
            await router.event("process_ended", 2)
            assert len([x for x in router.lines() if x["event"] == "process_ended"]) == 2

    lab.run(scenario())


SIZES = (1, 10, 1000, 30_000, 40_000, 90_000)


@pytest.mark.parametrize("at", ["_head", "completed"])
def test_an_answer_costs_its_client_nothing_when_the_kernel_has_all_or_nothing_of_it(
    lab, gated, tmp_path, monkeypatch, at
):
    """Another process gives it, or goes on behind it."""
    patched(tmp_path, monkeypatch, KILLED_ONCE.format(name=at))
    monkeypatch.setenv("KILLED", str(tmp_path / "killed"))

    async def scenario():
        async with gated() as (router, gate):
            _, clients = await on_victim(router, len(SIZES))
            for client, size in zip(clients, SIZES, strict=True):
                (tmp_path / "killed").unlink(missing_ok=True)
                request = lab.post({"model": "tiny", "fatal": "x" * size})
                client.writer.write(request)
                answer = await asyncio.wait_for(client.answer(), 20)
                assert (answer.status, answer.body) == (200, body_of(request))
                await router.event("process_ended", SIZES.index(size) + 1)
                await eventually(lambda: len(router.children()) == 2)
            for client in clients:
                client.writer.write(lab.post({"model": "tiny"}))
                assert (await asyncio.wait_for(client.answer(), 20)).status == 200
                client.writer.transport.abort()
            twice = len(SIZES) if at == "_head" else 0
            assert gate.fatal == len(SIZES) + twice

    lab.run(scenario())


def test_what_is_written_is_what_the_kernel_counts(lab, gated, tmp_path, monkeypatch):
    """Whatever is answered, and by whom: else an answer could be given twice, or not at all."""
    patched(tmp_path, monkeypatch, COUNTED)
    monkeypatch.setenv("COUNTS", str(tmp_path / "counts"))
    post = lab.post({"model": "tiny"})
    chunked = b"Host: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n"
    asked = [
        post,
        post.replace(b"POST", b"HEAD", 1),
        lab.post({"model": "unknown"}),
        b"GET /health HTTP/1.1\r\nHost: x\r\n\r\n",
        b"GET /v1/models HTTP/1.1\r\nHost: x\r\n\r\n",
        b"\r\n" + lab.post({"model": "tiny", "long": "x" * 500_000}),
        lab.post({"model": "tiny"}, path="/nowhere"),
        b"POST /v1/chat/completions HTTP/1.1\r\n" + chunked,
        post.replace(b"\r\n", b"\r\nExpect: 100-continue\r\n", 1),
    ]

    async def scenario():
        async with gated() as (router, _):
            _, (client,) = await on_victim(router, 1)
            for request in asked:
                client.writer.write(request)
                if b"Expect" in request:
                    await asyncio.wait_for(client.reader.readuntil(b"100 Continue\r\n\r\n"), 20)
                if request.startswith(b"HEAD"):
                    await asyncio.wait_for(client.reader.readuntil(b"\r\n\r\n"), 20)
                else:
                    assert (await asyncio.wait_for(client.answer(), 20)).complete
            client.writer.write(b"".join(asked[2:5]) * 5)  # ahead of each other
            got = b""
            while got.count(b"HTTP/1.1 ") < 15 or not got.endswith(b"}"):
                got += await asyncio.wait_for(client.reader.read(65536), 20)
            client.writer.write(post)
            assert (await asyncio.wait_for(client.answer(), 20)).status == 200
            client.writer.transport.abort()

    lab.run(scenario())
    counts = [line.split() for line in (tmp_path / "counts").read_text().splitlines()]
    assert len(counts) > len(asked)
    assert [ours for ours, _ in counts] == [kernels for _, kernels in counts]


def test_a_request_behind_a_refused_one_is_lost_and_leaves_nobody_waiting(lab, gated):
    """Both in one segment, with a head that the router remembers."""

    async def scenario():
        async with gated() as (router, gate):
            victim, clients = await on_victim(router, 3)
            unknown, good = lab.post({"model": "none"}), lab.post({"model": "tiny", "wait": 1})
            for client, sent in zip(clients, (good, good[:-5], unknown + good[:-5]), strict=True):
                client.writer.write(unknown + sent)
                await asyncio.wait_for(client.reader.readuntil(b"model_not_found"), 20)
            await eventually(lambda: gate.waiting == 1)
            os.kill(victim, signal.SIGKILL)
            await router.event("process_ended")
            for client in clients:
                with suppress(OSError):
                    await asyncio.wait_for(client.reader.read(), 20)
                client.writer.transport.abort()

    lab.run(scenario())


def test_bytes_that_begin_no_request_are_not_kept(lab, gated):
    """Blank lines before a request, and what follows the last one on a connection."""

    async def scenario():
        async with gated() as (router, gate):
            victim, (blank, last) = await on_victim(router, 2)
            blank.writer.write(b"\r\n" * 100_000)
            request = lab.post({"model": "tiny", "wait": 1}).replace(
                b"\r\n", b"\r\nconnection: close\r\n", 1
            )
            last.writer.write(request)
            await eventually(lambda: gate.waiting == 1)
            last.writer.write(b"x" * 200_000)
            await blank.writer.drain()
            blank.writer.write(lab.post({"model": "tiny"}))
            assert (await asyncio.wait_for(blank.answer(), 20)).status == 200
            assert not [f for f in open_files(victim) if "sglrouter-request" in f.name]
            gate.open.set()
            assert (await asyncio.wait_for(last.answer(), 20)).body == body_of(request)
            blank.writer.transport.abort()
            last.writer.transport.abort()

    lab.run(scenario())


def test_a_stuck_keeper_hides_no_death(lab, gated):
    async def scenario():
        async with gated() as (router, _):
            group = os.getsid(router.process.pid)
            await eventually(lambda: len(keepers(group)) == 2)
            stuck = keepers(group)
            for pid in stuck:
                os.kill(pid, signal.SIGSTOP)
            os.kill(router.children()[0], signal.SIGKILL)
            await router.event("process_ended")
            asked = [await router.ask(lab.post({"model": "tiny"})) for _ in range(10)]
            assert [answer.status for answer in asked] == [200] * 10
            for pid in stuck:
                os.kill(pid, signal.SIGCONT)

    lab.run(scenario())


def test_clients_wait_for_the_next_process_when_all_are_killed(lab, gated):
    async def scenario():
        async with gated() as (router, gate):
            _, clients = await on_victim(router, 20)
            for client in clients:
                client.writer.write(lab.post({"model": "tiny", "wait": 1}))
            await eventually(lambda: gate.waiting == len(clients))
            gate.open.set()
            for pid in router.children():
                os.kill(pid, signal.SIGKILL)
            for client in clients:
                assert (await asyncio.wait_for(client.answer(), 40)).status == 200
                client.writer.transport.abort()

    lab.run(scenario())


def test_every_process_has_a_keeper_and_none_is_left(lab, gated):
    async def scenario():
        async with gated(limits={"drain_notice_s": 0, "drain_s": 0}) as (router, _):
            group = os.getsid(router.process.pid)
            await eventually(lambda: len(keepers(group)) == 2)
            os.kill(router.children()[0], signal.SIGKILL)
            await router.event("process_ended")
            await eventually(lambda: len(router.children()) == 2)
            await eventually(lambda: len(keepers(group)) == 2)
            router.stop()
            assert await router.ended() == 0
            await eventually(lambda: not keepers(group))

    lab.run(scenario())


def test_a_process_without_its_keeper_says_so_and_serves(lab, gated):
    async def scenario():
        async with gated() as (router, _):
            group = os.getsid(router.process.pid)
            await eventually(lambda: len(keepers(group)) == 2)
            os.kill(keepers(group)[0], signal.SIGKILL)
            await router.event("no_keeper", error="it ended: -9")
            asked = [await router.ask(lab.post({"model": "tiny"})) for _ in range(10)]
            assert [answer.status for answer in asked] == [200] * 10

    lab.run(scenario())


def test_a_fork_shares_what_is_opened_and_closed_later():
    """In both directions, and beyond the end of one of them."""
    program = """if True:
        import os
        from sglrouter.rescue.fork import fork_sharing_descriptors
        pid = fork_sharing_descriptors()
        if pid == 0:
            ours, theirs = os.pipe()
            os.write(theirs, b"still open")
            os.close(0)
            os._exit(ours)
        descriptor = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        try:
            os.fstat(0)
        except OSError:
            print(os.read(descriptor, 99).decode())
    """
    run = subprocess.run(
        [sys.executable, "-c", program], capture_output=True, text=True, timeout=60, check=True
    )
    assert run.stdout == "still open\n"


@pytest.mark.parametrize("ended", [False, True])
def test_bytes_of_a_connection_are_counted_by_the_kernel(ended):
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()) as client,
        server.accept()[0] as connection,
    ):
        client.sendall(b"x" * 1000)
        if ended:
            client.shutdown(socket.SHUT_WR)
        connection.recv(1000, socket.MSG_PEEK | socket.MSG_WAITALL)
        connection.recv(300)
        assert bytes_read(connection) == 300
        connection.sendall(b"y" * 200)
        assert bytes_written(connection) == 200
        connection.setblocking(False)
        sent = 200 + connection.send(b"z" * 10_000_000)  # what fits
        assert bytes_written(connection) == sent
        client.recv(100_000)
        assert (bytes_read(connection), bytes_written(connection)) == (300, sent)


def descriptors() -> int:
    return len(list(Path("/proc/self/fd").iterdir()))


def content(kept: journals.Kept) -> bytes:
    return os.pread(kept.source, kept.length, kept.offset) if kept.length else b""


def test_descriptors_beyond_the_journal_are_not_kept():
    assert Journal().row(ROWS) is None


@pytest.fixture(params=ROW_TYPES, ids=lambda made: made.__module__)
def row_type(request, monkeypatch):
    monkeypatch.setattr(inner, "Row", request.param)


@pytest.mark.parametrize("number", [-1, ROWS, 2**62])
@pytest.mark.parametrize("made", ROW_TYPES)
def test_there_is_no_row_outside_the_memory(made, number):
    with mmap.mmap(-1, 4096) as memory:
        with pytest.raises(ValueError, match="no such row"):
            made(memory, number, ROWS, PLACE_BYTES)
        with pytest.raises(ValueError, match="no such row"):
            made(memory, 0, 1, 2**62)


def test_a_request_that_finds_no_memory_is_not_kept(row_type):
    """It is served all the same; only its process's death would be its own."""
    journal = Journal()
    row = journal.row(7)
    row.open(0)
    files = descriptors()
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (0, hard))
    try:
        assert row.took(b"x" * (PLACE_BYTES + 1))
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))
    assert (row.state, list(journal.kept())) == (NONE, [])
    row.idle()
    assert [(kept.taken, kept.length) for kept in journal.kept()] == [(PLACE_BYTES + 1, 0)]
    assert descriptors() == files


def test_memory_of_long_requests_is_given_back(row_type):
    journal = Journal()
    rows = [journal.row(number) for number in range(64)]
    used = os.fstat(journal._file).st_blocks
    files = descriptors()
    for row in rows:
        row.open(0)
        row.took(b"x" * PLACE_BYTES)
        row.took(b"y")
        row.end()
    assert descriptors() == files
    assert os.fstat(journal._file).st_blocks - used < 64


def test_a_client_that_cannot_be_given_away_holds_up_no_other():
    journal = Journal()
    takes, gives = make_adoption()
    ours, theirs = socket.socketpair()
    with takes, gives, ours:
        gone = os.dup(ours.fileno())
        os.close(gone)
        for number in (gone, theirs.detach()):
            journal.row(number).open(5)
        keeper._give_away(journal, gives)
        message, descriptors, *_ = socket.recv_fds(takes, 99, 9)
        taken, _, length = keeper.MESSAGE.unpack(message)
        assert (taken, length) == (5, 0)
        with socket.socket(fileno=descriptors[0]) as given:
            given.send(b"it")
        assert ours.recv(9) == b"it"
        with pytest.raises(BlockingIOError):
            takes.recv(9)


@pytest.mark.parametrize(
    ("before", "whole", "sent", "length"),
    [
        (0, 300, 0, 7), (0, 300, 300, 0), (0, 300, 299, None),
        (0, 0, 0, 7), (0, 0, 300, None),
        (500, 800, 500, 7), (500, 800, 800, 0), (500, 800, 600, None), (500, 0, 500, 7),
    ],
)  # fmt: skip
def test_what_a_client_is_owed_that_was_being_answered(row_type, before, whole, sent, length):
    """Its answer (`length`: of the request), nothing more (0), or a rest that nobody has (None)."""
    with (
        socket.create_server(("127.0.0.1", 0)) as server,
        socket.create_connection(server.getsockname()),
        server.accept()[0] as connection,
    ):
        connection.sendall(b"x" * sent)
        journal = Journal()
        row = journal.row(connection.fileno())
        row.open(0)
        row.took(b"request")
        row.answer(before, whole - before if whole else 0)
        (kept,) = journal.kept()
        now = keeper._as_of_now(kept)
        assert (None if now is None else now.length) == length


def test_what_nobody_takes_is_closed():
    takes, gives = make_adoption()
    ours, theirs = socket.socketpair()
    with takes, gives, ours:
        with theirs:
            socket.send_fds(gives, [keeper.MESSAGE.pack(0, 0, 0)], [theirs.fileno()])
        turn_away(takes)
        assert ours.recv(9) == b""
        turn_away(takes)


pieces = st.binary(min_size=1, max_size=40) | st.integers(1, 2 * PLACE_BYTES).map(
    lambda n: bytes([n % 251]) * n
)
steps = st.lists(
    st.tuples(st.integers(3, 5), st.just("took"), pieces)
    | st.tuples(
        st.integers(3, 5), st.sampled_from(["answer", "end", "idle", "again"]), st.just(b"")
    ),
    max_size=30,
)


class Client:
    """What the journal must know of one."""

    def __init__(self) -> None:
        self.state, self.sent, self.taken, self.written = IDLE, b"", 0, 0

    def do(self, row, what: str, data: bytes) -> None:
        getattr(self, what)(row, data)

    def took(self, row, data: bytes) -> None:
        unkept = self.state in (NONE, ANSWERING)
        assert row.took(data) != unkept
        if unkept:
            assert row.state == NONE
            row.begin(data)
        self.sent = data if unkept or self.state == IDLE else self.sent + data
        self.taken += len(data)
        self.state = self.state if self.state == WAITING_AGAIN else WAITING

    def again(self, row, _) -> None:
        row.again()
        self.state = WAITING_AGAIN if self.state == WAITING else self.state

    def answer(self, row, _) -> None:
        self.written += 7
        row.answer(self.written, len(self.sent))
        self.state = ANSWERING if self.state == WAITING else NONE

    def idle(self, row, _) -> None:
        if self.state in (NONE, ANSWERING):
            row.idle()
            self.state = IDLE

    def end(self, row, _) -> None:
        row.end()
        self.state = NONE

    @property
    def kept(self) -> tuple[int, bytes, tuple[int, int] | None] | None:
        if self.state in (NONE, WAITING_AGAIN):
            return None
        sent = b"" if self.state == IDLE else self.sent
        answer = self.written, self.written + len(sent)
        return self.taken, sent, answer if self.state == ANSWERING else None


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(steps)
def test_the_journal_has_what_every_client_has_sent_that_another_can_answer(row_type, history):
    """Whatever happened before, and in whatever pieces; nothing of the others."""
    journal = Journal()
    rows = {number: journal.row(number) for number in (3, 4, 5)}
    clients = {number: Client() for number in rows}
    for row in rows.values():
        row.open(0)
    for number, what, data in history:
        clients[number].do(rows[number], what, data)
        assert rows[number].state == clients[number].state
    found = {kept.descriptor: (kept.taken, content(kept), kept.answer) for kept in journal.kept()}
    assert found == {n: client.kept for n, client in clients.items() if client.kept is not None}
    for row in rows.values():
        row.end()
