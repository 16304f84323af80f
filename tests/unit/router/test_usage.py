"""Tokens of finished requests, and what keys are held to."""

from __future__ import annotations

import asyncio
import hashlib
import json

import pytest

from sglrouter.serving.usage import Usage, read_usage

OPENAI = {"prompt_tokens": 9, "completion_tokens": 3, "total_tokens": 12}
TAILS = {
    "a plain answer": (json.dumps({"choices": [], "usage": OPENAI}), Usage(9, 3)),
    "with cached tokens": (
        json.dumps({"usage": {**OPENAI, "prompt_tokens_details": {"cached_tokens": 7}}}),
        Usage(9, 3, 7),
    ),
    "details of null": (
        json.dumps({"usage": {**OPENAI, "prompt_tokens_details": None}}),
        Usage(9, 3),
    ),
    "the last event but [DONE]": (
        f"51\r\ndata: {json.dumps({'usage': OPENAI})}\n\n\r\ne\r\ndata: [DONE]\n\n\r\n0\r\n\r\n",
        Usage(9, 3),
    ),
    "events with usage null after it": (
        f"data: {json.dumps({'usage': OPENAI})}\n\n" + 'data: {"usage": null}\n\n',
        Usage(9, 3),
    ),
    "responses": (
        json.dumps({"usage": {"input_tokens": 5, "output_tokens": 6}, "more": 1}),
        Usage(5, 6),
    ),
    "anthropic": (
        json.dumps(
            {"usage": {"input_tokens": 5, "output_tokens": 6, "cache_read_input_tokens": 4}}
        ),
        Usage(5, 6, 4),
    ),
    "generate": (
        json.dumps({"text": "x", "meta_info": {**OPENAI, "cached_tokens": 0}}),
        Usage(9, 3, 0),
    ),
    "embeddings": ('{"usage": {"prompt_tokens": 4, "total_tokens": 4}}', Usage(4, 0)),
    "cut before the object": ('{"usage":', None),
    "cut inside": ('{"usage": {"prompt_tokens": 4', None),
    "none": ('{"choices": []}', None),
    "not an object": ('{"usage": [1]}', None),
    "not numbers": ('{"usage": {"prompt_tokens": "4", "completion_tokens": -1}}', None),
    "bytes": ("\ufffd\x00", None),
}


@pytest.mark.parametrize("name", TAILS)
def test_usage_is_read_from_the_end_of_an_answer(name):
    tail, expected = TAILS[name]
    assert read_usage(tail.encode()) == expected


def test_usage_is_counted_per_key_and_written_to_the_log(lab):
    """What the engine said, not an estimate."""
    body = json.dumps({"usage": {**OPENAI, "prompt_tokens_details": {"cached_tokens": 7}}})

    async def scenario():
        worker = lab.FakeWorker(lab.plain(body.encode()))
        async with lab.world(worker) as world:
            assert (await world.ask(lab.post())).status == 200
            counted = world.router.metrics.key_tokens
            assert {kind: n for (_, _, kind), n in counted.items()} == {
                "prompt": 9,
                "completion": 3,
                "cached": 7,
            }
            (line,) = [line for line in world.log() if line["event"] == "request"]
            assert (line["prompt_tokens"], line["tokens_estimated"]) == (9, False)
            assert line["tier"] == "chat"

    lab.run(scenario())


def test_a_stream_that_does_not_tell_is_estimated(lab):
    """By its events; the line says so."""

    async def stream(request, writer):
        writer.write(
            b"HTTP/1.1 200 OK\r\ncontent-type: text/event-stream\r\n"
            b"transfer-encoding: chunked\r\n\r\n"
        )
        for _ in range(5):
            await asyncio.sleep(0.01)
            writer.write(b"9\r\ndata: x\n\n\r\n")
        writer.write(b"0\r\n\r\n")

    async def scenario():
        async with lab.world(lab.FakeWorker(stream)) as world:
            assert (await world.ask(lab.post({"model": "tiny", "prompt": "x" * 400}))).complete
            (line,) = [line for line in world.log() if line["event"] == "request"]
            assert line["tokens_estimated"]
            assert 100 <= line["prompt_tokens"] <= 120
            assert 1 <= line["completion_tokens"] <= 7

    lab.run(scenario())


def test_a_keys_concurrency_is_given_back_however_a_request_ends(lab, tmp_path):
    """Complete, refused, failed, left: the key may ask again."""
    keys = tmp_path / "keys"
    digest = hashlib.sha256(b"sk-12345678").hexdigest()
    keys.write_text(json.dumps({"a": {"sha256": digest, "concurrency": 1}}))
    header = "Authorization: Bearer sk-12345678\r\n"

    async def never(request, writer):
        await asyncio.sleep(3600)

    async def scenario():
        worker = lab.FakeWorker()
        async with lab.world(worker, keys={"file": str(keys)}) as world:
            for handler in (lab.plain(), lab.reset(), lab.cut(b"HTTP/1.1 200 OK\r\n\r\nx")):
                worker.handler = handler
                assert (await world.ask(lab.post(headers=header))).status in (200, 503)
            worker.handler = never
            client = await world.client()
            client.writer.write(lab.post(headers=header))
            await lab.until(lambda: len(world.router.exchanges) == 1)
            refused = await world.ask(lab.post(headers=header))
            assert (refused.status, refused.error["code"]) == (429, "rate_limited_concurrency")
            client.writer.transport.abort()
            await lab.until(lambda: not world.router.exchanges)
            worker.handler = lab.plain()
            assert (await world.ask(lab.post(headers=header))).status == 200

    lab.run(scenario())
