"""What is counted and logged of requests that are over, whenever that is."""

from __future__ import annotations

import asyncio
import hashlib
import json


async def hang(request, writer):
    """Begin a stream and never go on."""
    writer.write(b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n")
    writer.write(b"transfer-encoding: chunked\r\n\r\n9\r\ndata: 1\n\n\r\n")
    await asyncio.sleep(60)


def test_what_a_request_used_counts_for_the_next_one_in_the_same_segment(lab, tmp_path):
    """The second is begun at the very moment the first is over."""
    digest = hashlib.sha256(b"sk-aaaaaaaa").hexdigest()
    keys = tmp_path / "keys.json"
    keys.write_text(json.dumps({"a": {"sha256": digest, "tokens_per_minute": 100}}))
    body = b'{"usage":{"prompt_tokens":1,"completion_tokens":5000}}'

    async def scenario():
        worker = lab.FakeWorker(lab.plain(body))
        async with lab.world(worker, keys={"file": str(keys)}) as world:
            request = lab.post(headers="x-api-key: sk-aaaaaaaa\r\n")
            last = lab.post(headers="x-api-key: sk-aaaaaaaa\r\nconnection: close\r\n")
            answers = (await world.raw(request + last)).split(b"HTTP/1.1 ")
            assert [answer[:3] for answer in answers[1:]] == [b"200", b"429"]
            assert not world.router.limits._uses["a"].running

    lab.run(scenario())


def test_a_router_that_stops_at_once_still_logs_and_counts_what_ran(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker(hang)) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: any(e.sent for e in world.router.exchanges), "a stream")
            await world.service.stop()
            assert not world.router.exchanges
            assert sum(world.router.metrics.requests.values()) == 1
            (line,) = [line for line in world.log() if line["event"] == "request"]
            assert (line["outcome"], line["status"]) == ("client_gone", 200)

    lab.run(scenario())


def test_a_request_that_ends_because_another_is_cut_is_answered_once(lab):
    """It waits for the place of the one that is cut, and by then no worker is left."""
    fleet = {"models": ["tiny"], "max_in_flight": 1}
    limits = {"drain_notice_s": 0, "drain_s": 0}

    async def scenario():
        worker = lab.FakeWorker(hang)
        async with lab.world(worker, fleets={"chat": fleet}, limits=limits) as world:
            router = world.router
            clients = [await world.client() for _ in range(9)]
            for client in clients:
                client.writer.write(lab.post())
            chat = router.workers.fleets["chat"]
            await lab.until(lambda: len(chat.queue) == 8, "those that wait")
            worker.state["state"] = "draining"
            await lab.until(lambda: not chat.ready, "no worker left")
            await world.service.drain()
            answers = [await client.rest() for client in clients]
            assert [raw.count(b"HTTP/1.1 ") for raw in answers] == [1] * 9
            assert (chat.in_flight, len(chat.queue), router.exchanges) == (0, 0, set())
            await lab.until(lambda: not router.ended, "their accounting")
            assert sum(router.metrics.requests.values()) == 9

    lab.run(scenario())
