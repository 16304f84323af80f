"""The router's own life: admin listener, log, drain."""

from __future__ import annotations

import asyncio
import json

import pytest

SSE_HEAD = (
    b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\ntransfer-encoding: chunked\r\n\r\n"
)


def test_models_are_merged_over_fleets_and_requests_follow_their_model(lab):
    """Two fleets: each request reaches the worker that serves its model."""

    async def scenario():
        chat, embed = lab.FakeWorker(), lab.FakeWorker(state={"fleet": "embed"})
        await chat.start()
        await embed.start()
        listed = [
            {"url": f"http://{w.id}", "agent_url": f"http://{w.id}", "fleet": fleet}
            for w, fleet in [(chat, "chat"), (embed, "embed")]
        ]
        fleets = {"chat": {"models": ["tiny", "small"]}, "embed": {"models": ["vectors"]}}
        kind = {"kind": "static", "workers": listed, "state_interval_s": 0.05}
        async with lab.world(ready=False, fleets=fleets, discovery=kind) as world:
            await lab.until(lambda: world.router.workers.ready_count() == 2)
            models = await world.ask(b"GET /v1/models HTTP/1.1\r\nhost: x\r\n\r\n")
            data = json.loads(models.body)
            assert data["object"] == "list"
            assert [m["id"] for m in data["data"]] == ["tiny", "small", "vectors"]
            one = await world.ask(b"GET /v1/models/small HTTP/1.1\r\nhost: x\r\n\r\n")
            assert json.loads(one.body)["id"] == "small"
            none = await world.ask(b"GET /v1/models/huge HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (none.status, none.error["code"]) == (404, "model_not_found")
            for model, worker in [("tiny", chat), ("small", chat), ("vectors", embed)]:
                answer = await world.ask(lab.post({"model": model}))
                assert answer.header("x-sglctl-worker") == worker.id
            unsaid = await world.ask(lab.post({"prompt": "x"}))
            assert (unsaid.status, unsaid.error["code"]) == (400, "model_required")
        await chat.stop()
        await embed.stop()

    lab.run(scenario())


def test_a_tick_that_fails_is_logged_and_not_the_last(lab):
    """Else no deadline would be looked at any more: here the one of a first byte."""

    async def scenario():
        async def silent(request, writer):
            await asyncio.Event().wait()

        fleets = {"chat": {"models": ["tiny"], "first_byte_timeout_s": 0.2}}
        worker = lab.FakeWorker(silent)
        async with lab.world(worker, fleets=fleets) as world:
            tick = world.router.tick

            def fails_once():
                world.router.tick = tick
                raise ValueError("what nobody thought of")

            world.router.tick = fails_once
            await lab.until(lambda: world.router.tick == tick, "the tick")
            answer = await world.ask(lab.post({"model": "tiny"}))
            assert answer.error["code"] == "first_byte_timeout"
        (line,) = [x for x in world.log() if x["event"] == "tick_failed"]
        assert "ValueError: what nobody thought of" in line["traceback"]

    lab.run(scenario())


def test_the_admin_listener_shows_workers_configuration_and_metrics(lab, tmp_path):
    """And no key."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"a": "sk-secret-1"}')

    async def scenario():
        worker = lab.FakeWorker(state={"queued": 3})
        async with lab.world(worker, keys={"file": str(keys)}) as world:
            await world.ask(lab.post(headers="Authorization: Bearer sk-secret-1\r\n"))
            rows = json.loads((await world.admin("/workers")).body)["workers"]
            assert [
                (r["id"], r["state"], r["chosen_from"], r["in_flight"], r["queued"]) for r in rows
            ] == [(worker.id, "ready", True, 0, 3)]
            config = (await world.admin("/config")).body
            assert json.loads(config)["fleets"]["chat"]["models"] == ["tiny"]
            metrics = (await world.admin("/metrics")).body.decode()
            assert (
                'sglrouter_requests_total{route="/v1/completions",fleet="chat",tier="chat",'
                'status="200"} 1' in metrics
            )
            assert 'sglrouter_first_byte_seconds_count{fleet="chat"} 1' in metrics
            assert 'sglrouter_ready_workers{fleet="chat"} 1' in metrics
            assert f'sglrouter_worker_in_flight{{fleet="chat",worker="{worker.id}"}} 0' in metrics
            assert (await world.admin("/health")).status == 200
            assert (await world.admin("/flush")).status == 404
            assert b"sk-secret" not in config

    lab.run(scenario())


def test_the_access_log_has_one_line_a_request_and_no_prompt(lab):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            await world.ask(
                lab.post(
                    {"model": "tiny", "prompt": "my secret prompt"},
                    path="/v1/completions?user=jane",
                )
            )
            lines = world.log()
            (line,) = [x for x in lines if x["event"] == "request"]
            assert line["outcome"] == "complete"
            assert line["worker"] == world.workers[0].id
            assert (line["route"], line["model"]) == ("/v1/completions", "tiny")
            assert "secret" not in json.dumps(lines)
            assert "jane" not in json.dumps(lines)

    lab.run(scenario())


def test_a_stopping_router_turns_away_finishes_and_says_what_it_cut(lab):
    """/health is 503 while requests are still taken; then nothing new; then the deadline."""

    async def endless(request, writer):
        if b'"short"' in request.body:
            writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")
            return
        writer.write(SSE_HEAD + b"9\r\ndata: 1\n\n\r\n")
        await asyncio.sleep(3600)

    async def scenario():
        limits = {"drain_notice_s": 0.3, "drain_s": 0.3}
        async with lab.world(lab.FakeWorker(endless), limits=limits) as world:
            client = await world.client()
            idle = await world.client()
            client.writer.write(lab.post(headers="x-request-id: long\r\n"))
            await client.reader.readuntil(b"data: 1\n\n\r\n")
            drain = asyncio.ensure_future(world.service.drain())
            await lab.until(lambda: world.router.draining)
            health = await world.ask(b"GET /health HTTP/1.1\r\nhost: x\r\n\r\n")
            assert (health.status, json.loads(health.body)["status"]) == (503, "draining")
            assert (await world.ask(lab.post({"model": "tiny", "short": 1}))).status == 200
            await lab.until(lambda: world.router.stopping)
            assert await idle.rest() == b""
            with pytest.raises(ConnectionRefusedError):
                await world.client()
            await drain
            rest = await client.rest()
            assert b"The router is stopping" in rest
            assert b"[DONE]" not in rest
            assert not world.router.exchanges
            cut = [x for x in world.log() if x["event"] == "stream_cut"]
            assert [(x["id"], x["worker"], x["phase"]) for x in cut] == [
                ("long", world.workers[0].id, "streaming")
            ]

    lab.run(scenario())


def test_a_stream_that_ends_in_time_ends_the_drain(lab):
    go = asyncio.Event()

    async def held(request, writer):
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def scenario():
        limits = {"drain_notice_s": 0, "drain_s": 3600}
        async with lab.world(lab.FakeWorker(held), limits=limits) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: world.workers[0].requests)
            drain = asyncio.ensure_future(world.service.drain())
            await lab.until(lambda: world.router.stopping)
            go.set()
            answer = await client.answer()
            assert (answer.body, answer.header("connection")) == (b"ok", "close")
            await asyncio.wait_for(drain, 5)

    lab.run(scenario())
