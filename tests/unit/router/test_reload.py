"""SIGHUP: a document replaces another while streams run, or is refused whole."""

from __future__ import annotations

import asyncio
import json
import threading
from contextlib import AsyncExitStack, asynccontextmanager

import pytest

from sglrouter.errors import DocumentError
from sglrouter.models import RouterDocument
from sglrouter.reload import Reloader, change_of
from sglrouter.serving import core
from tests.unit.router.command import serving

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)
EVENT = b"9\r\ndata: 1\n\n\r\n"
BASE = {
    "environment": "local",
    "fleets": {"chat": {"models": ["tiny"]}},
    "discovery": {"kind": "file", "path": "/w"},
}

CHANGES = [
    ("nothing", {}, [], []),
    ("a policy", {"policy": "least_load"}, ["policy"], []),
    ("a fleet more", {"fleets": {**BASE["fleets"], "b": {"models": ["x"]}}}, ["fleets.b"], []),
    ("a fleet's bound", {"fleets": {"chat": {"models": ["tiny"], "max_in_flight": 3}}},
     ["fleets.chat"], []),
    ("another port", {"listen": {"port": 1, "processes": 2}}, [],
     ["listen.port", "listen.processes"]),
    ("the index", {"affinity": {"index_bytes": 65536, "spill_tokens": 1}},
     ["affinity.spill_tokens"], ["affinity.index_bytes"]),
    ("keys", {"keys": {"file": "/k"}},
     ["keys.failed_per_minute", "keys.file", "keys.forwarded_for", "keys.interval_s"], []),
]  # fmt: skip


@pytest.mark.parametrize(
    ("change", "keys", "stays"), [c[1:] for c in CHANGES], ids=[c[0] for c in CHANGES]
)
def test_a_reload_takes_over_what_can_change_and_names_what_cannot(change, keys, stays):
    """Where the router listens and the size of the index stay as they were."""
    old = RouterDocument.model_validate(BASE)
    new = RouterDocument.model_validate({**BASE, **change})
    found = change_of(old, new)
    assert (list(found.keys), list(found.stays)) == (keys, stays)
    assert found.document.listen == old.listen
    assert found.document.affinity.index_bytes == old.affinity.index_bytes
    assert change_of(found.document, found.document).keys == ()


def test_another_environments_document_is_refused():
    old = RouterDocument.model_validate(BASE)
    other = RouterDocument.model_validate({**BASE, "environment": "dev", "keys": {"file": "/k"}})
    with pytest.raises(DocumentError, match="environment: this router is of 'local'"):
        change_of(old, other)


@asynccontextmanager
async def started(worker):
    await worker.start()
    try:
        yield worker
    finally:
        await worker.stop()


def edited(world, **changes):
    return RouterDocument.model_validate({**world.router.document.model_dump(), **changes})


def test_a_stream_lives_through_reloads_even_of_its_own_fleet(lab):
    """Policy, limits, a fleet more, its own fleet gone and back: the stream ends whole,
    and every counter is zero then."""
    go = asyncio.Event()

    async def held(request, writer):
        if b'"held"' not in request.body:
            await lab.plain()(request, writer)
            return
        writer.write(SSE_HEAD + EVENT)
        await go.wait()
        writer.write(EVENT + b"0\r\n\r\n")

    async def scenario():
        worker, other = lab.FakeWorker(held), lab.FakeWorker()
        async with started(other), lab.world(worker) as world:
            service, router = world.service, world.router
            client = await world.client()
            client.writer.write(lab.post({"model": "tiny", "held": 1}))
            await client.reader.readuntil(EVENT)
            listed = world.router.document.discovery.model_dump()
            both = [*listed["workers"], {"url": f"http://{other.id}", "fleet": "extra"}]
            fleets = world.router.document.model_dump()["fleets"]
            extra = {"extra": {"models": ["more"]}}
            await service.reload(edited(world, policy="least_load", limits={"max_retries": 0}))
            await service.reload(
                edited(world, fleets=fleets | extra, discovery={**listed, "workers": both})
            )
            await lab.until(lambda: router.workers.ready_count() == 2)
            assert (await world.ask(lab.post({"model": "more"}))).status == 200
            await service.reload(
                edited(world, fleets=extra, discovery={**listed, "workers": both[1:]})
            )
            gone = await world.ask(lab.post({"model": "tiny"}))
            assert (gone.status, gone.error["code"]) == (404, "model_not_found")
            assert [w.id for w in router.workers.workers.values()] == [other.id]
            await service.reload(edited(world, fleets=fleets, discovery=listed))
            await lab.until(lambda: router.workers.ready_count() == 1)
            assert (await world.ask(lab.post({"model": "tiny"}))).status == 200
            go.set()
            assert await client.reader.readuntil(b"0\r\n\r\n") == EVENT + b"0\r\n\r\n"
            assert not router.exchanges
            assert [w.in_flight for w in router.workers.workers.values()] == [0]
            assert [f.in_flight for f in router.workers.fleets.values()] == [0]

    lab.run(scenario())


def test_new_keys_are_in_force_at_once_and_a_wrong_key_file_refuses_the_document(lab, tmp_path):
    """With the old keys still in force, and nothing else of the document taken over."""
    first, second, wrong = (tmp_path / name for name in ("first", "second", "wrong"))
    first.write_text('{"a": "sk-11111111"}')
    second.write_text('{"a": "sk-22222222"}')
    wrong.write_text('{"a": 1}')

    async def scenario():
        async with lab.world(lab.FakeWorker(), keys={"file": str(first)}) as world:

            async def status(key):
                return (await world.ask(lab.post(headers=f"x-api-key: {key}\r\n"))).status

            assert [await status("sk-11111111"), await status("sk-22222222")] == [200, 401]
            before = world.router.document
            with pytest.raises(DocumentError, match="wrong"):
                await world.service.reload(
                    edited(world, keys={"file": str(wrong)}, policy="round_robin")
                )
            assert world.router.document is before
            assert await status("sk-11111111") == 200
            await world.service.reload(edited(world, keys={"file": str(second)}))
            assert [await status("sk-11111111"), await status("sk-22222222")] == [401, 200]

    lab.run(scenario())


def test_a_document_that_fails_half_way_is_taken_back_whole(lab, monkeypatch):
    """Here: the machine has no root certificates for a new external."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            real = core.externals_of

            def fails(document, before):
                if document.policy == "round_robin":
                    raise OSError("no certificates")
                return real(document, before)

            monkeypatch.setattr(core, "externals_of", fails)
            before, extra = world.router.document, {"b": {"models": ["x"]}}
            with pytest.raises(OSError, match="no certificates"):
                await world.service.reload(
                    edited(world, policy="round_robin", fleets={**before.fleets, **extra})
                )
            assert world.router.document is before
            assert [p.name for p in world.router.policies.values()] == ["prefix_aware"]
            assert (await world.ask(lab.post())).status == 200

    lab.run(scenario())


def test_another_source_of_workers_replaces_the_first(lab, tmp_path):
    """From the document's own list to a file."""

    async def scenario():
        old, new = lab.FakeWorker(), lab.FakeWorker()
        path = tmp_path / "workers.yaml"
        async with started(new), lab.world(old) as world:
            path.write_text(json.dumps({"workers": [{"url": f"http://{new.id}", "fleet": "chat"}]}))
            kind = {"kind": "file", "path": str(path), "interval_s": 3600}
            await world.service.reload(edited(world, discovery=kind))
            known = world.router.workers
            await lab.until(lambda: list(known.workers) == [new.id])
            await lab.until(lambda: known.ready_count() == 1)
            assert (await world.ask(lab.post())).header("x-sglctl-worker") == new.id

    lab.run(scenario())


def test_peers_come_and_go_with_the_document(lab):
    async def scenario():
        other = lab.FakeWorker()
        async with started(other), lab.world(lab.FakeWorker()) as world:
            urls = {"a": "http://127.0.0.1:1", "b": f"http://{other.id}"}
            routers = [{"id": name, "url": url} for name, url in urls.items()]
            peers = {"kind": "static", "self_id": "a", "routers": routers, "probe_interval_s": 0.05}
            await world.service.reload(edited(world, peers=peers))
            await lab.until(lambda: [p.id for p in world.router.peers.live] == ["b"])
            await world.service.reload(edited(world, peers=None))
            assert world.router.peers.live == ()

    lab.run(scenario())


def test_reloads_asked_for_together_are_done_one_after_the_other(lab):
    """A burst while one runs is one more, and it sees the last document."""
    reads, release = [], threading.Semaphore(0)
    latest = [1]

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:

            def read():
                reads.append(latest[0])
                release.acquire()
                return edited(world, limits={"max_retries": reads[-1]})

            reloader = Reloader(world.router, read, world.service.reload)
            running = asyncio.create_task(reloader.run())
            reloader.request()
            await lab.until(lambda: reads == [1])
            for number in (2, 3, 4):
                latest[0] = number
                reloader.request()
                await asyncio.sleep(0)
            release.release(2)
            counted = world.router.metrics.document_reloads
            await lab.until(lambda: counted[("applied",)] == 2)
            assert (reads, world.router.document.limits.max_retries) == ([1, 4], 4)
            running.cancel()
            await asyncio.gather(running, return_exceptions=True)

    lab.run(scenario())


REFUSED = [
    ("half a file", "environment: local\nfleets: {", "not YAML"),
    ("an unknown key", json.dumps({**BASE, "polices": 1}), "polices"),
    ("a wrong value", json.dumps({**BASE, "limits": {"drain_s": -1}}), "limits.drain_s"),
    ("no file", None, "cannot be read"),
]


def test_a_wrong_document_is_refused_whole_with_a_metric_and_a_line_that_names_the_key(
    lab, tmp_path
):
    """A real process and real signals: each wrong document keeps the old one, then a right one
    is taken, and a change of port is said to need a restart."""
    path = tmp_path / "router.yaml"

    async def scenario():
        listen = {"host": "127.0.0.1", "port": 0, "admin_host": "127.0.0.1", "admin_port": 0}
        async with AsyncExitStack() as stack:
            worker = await stack.enter_async_context(started(lab.FakeWorker()))
            listed = [{"url": f"http://{worker.id}", "fleet": "chat"}]
            right = {**BASE, "listen": listen, "discovery": {"kind": "static", "workers": listed}}
            path.write_text(json.dumps(right))
            router = await stack.enter_async_context(serving(lab, tmp_path, "--config", str(path)))
            for n, (_, text, message) in enumerate(REFUSED, 1):
                path.unlink() if text is None else path.write_text(text)
                router.reload()
                line = await router.event("reload", n)
                assert line["outcome"] == "refused"
                assert message in line["reason"]
                assert (await router.ask(lab.post())).status == 200
            path.write_text(
                json.dumps({**right, "policy": "round_robin", "listen": {**listen, "port": 1}})
            )
            router.reload()
            line = await router.event("reload", len(REFUSED) + 1)
            assert (line["outcome"], line["changed"], line["needs_restart"]) == (
                "applied", ["policy"], ["listen.port"]
            )  # fmt: skip
            metrics = (await router.admin("/metrics")).body.decode()
            assert f'sglrouter_reloads_total{{outcome="refused"}} {len(REFUSED)}' in metrics
            assert 'sglrouter_reloads_total{outcome="applied"} 1' in metrics
            config = json.loads((await router.admin("/config")).body)
            assert (config["policy"], config["listen"]["port"]) == ("round_robin", 0)

    lab.run(scenario())
