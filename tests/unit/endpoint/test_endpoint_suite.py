"""The endpoint tests themselves: a good endpoint passes, each fault is caught by its check."""

from __future__ import annotations

import asyncio
import json
import threading
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from typing import Any
from xml.etree import ElementTree

import pytest
from aiohttp import web

from sglctl.endpoint import Reports, Target, run_suite
from sglctl.endpoint.suite import CHECKS
from sglctl.errors import EndpointTestError

KEY = "right-key"
MODEL = "tiny"


@dataclass
class FakeEndpoint:
    """An OpenAI-compatible endpoint of one worker, with faults that can be switched on."""

    faults: set[str] = field(default_factory=set)
    running: int = 0
    seen_prompts: set[str] = field(default_factory=set)

    def app(self) -> web.Application:
        app = web.Application(client_max_size=1 << 40)
        app.router.add_get("/health", self.health)
        app.router.add_get("/v1/models", self.models)
        app.router.add_get("/v1/loads", self.loads)
        app.router.add_post("/v1/chat/completions", self.generate)
        app.router.add_post("/v1/completions", self.generate)
        return app

    def refuse(self, status: int, message: str) -> web.Response:
        return web.json_response({"error": {"message": message, "type": "x"}}, status=status)

    async def health(self, _: web.Request) -> web.Response:
        return web.Response(text="ok")

    async def models(self, request: web.Request) -> web.Response:
        if not self.authorised(request):
            return self.refuse(401, "bad key")
        entry = {"id": MODEL, "object": "model", "owned_by": "sglang", "max_model_len": 2000}
        return web.json_response({"object": "list", "data": [entry]})

    async def loads(self, _: web.Request) -> web.Response:
        load = {"num_running_reqs": self.running, "num_waiting_reqs": 0}
        return web.json_response({"loads": [load]})

    def authorised(self, request: web.Request) -> bool:
        return "no auth" in self.faults or request.headers.get("Authorization") == f"Bearer {KEY}"

    async def generate(self, request: web.Request) -> web.StreamResponse:
        if not self.authorised(request):
            return self.refuse(401, "bad key")
        if (request.content_length or 0) > 1 << 26 and "reads anything" not in self.faults:
            return self.refuse(413, "too large")
        try:
            body = json.loads(await request.read())
        except json.JSONDecodeError:
            return self.refuse(400, "not JSON")
        if body["model"] != MODEL:
            return self.refuse(200 if "any model" in self.faults else 404, "unknown model")
        if not body.get("messages", ["prompt"]):
            return self.refuse(400, "empty messages")
        prompt = body.get("prompt") or body["messages"][0]["content"]
        if len(prompt.split()) > 2000:
            return self.refuse(400, "too long")
        return await (self.stream(request, body, prompt) if body.get("stream") else
                      self.answer(body, prompt))  # fmt: skip

    def usage(self, prompt: str, tokens: int) -> dict[str, Any]:
        count = len(prompt.split()) + 1
        cached = count - 1 if prompt in self.seen_prompts and "no cache" not in self.faults else 0
        self.seen_prompts.add(prompt)
        extra = 1 if "bad usage" in self.faults else 0
        return {"prompt_tokens": count, "completion_tokens": tokens,
                "total_tokens": count + tokens + extra,
                "prompt_tokens_details": {"cached_tokens": cached}}  # fmt: skip

    async def answer(self, body: dict[str, Any], prompt: str) -> web.Response:
        text = "hello"
        if "response_format" in body:
            text = "{" if "bad JSON" in self.faults else '{"city":"A","sunny":true,"degrees":1}'
        if "regex" in body:
            text = "yesterday" if "bad regex" in self.faults else "2026-11-21"
        choice = {"message": {"role": "assistant", "content": text}, "text": text,
                  "finish_reason": "length"}  # fmt: skip
        document = {"choices": [choice], "usage": self.usage(prompt, 3)}
        return web.json_response(document, headers={"x-sglctl-worker": "i-1"})

    async def stream(
        self, request: web.Request, body: dict[str, Any], prompt: str
    ) -> web.StreamResponse:
        response = web.StreamResponse(
            headers={"content-type": "text/event-stream", "x-sglctl-worker": "i-1"}
        )
        await response.prepare(request)
        self.running += 1
        try:
            async for event in self.events(body, prompt):
                await response.write(f"data: {event}\n\n".encode())
        finally:
            if "leaks" not in self.faults:
                self.running -= 1
        return response

    async def events(self, body: dict[str, Any], prompt: str) -> AsyncIterator[str]:
        tokens = min(body["max_tokens"], 2000)
        for index in range(tokens):
            finish = "length" if index == tokens - 1 else None
            choice = {"delta": {"content": "a "}, "finish_reason": finish}
            yield json.dumps({"id": "1", "choices": [choice]})
            await asyncio.sleep(0.005 if body["max_tokens"] > 100 else 0)
        yield json.dumps({"id": "1", "choices": [], "usage": self.usage(prompt, tokens)})
        if "no DONE" not in self.faults:
            yield "[DONE]"


@pytest.fixture
def endpoint() -> Iterator[tuple[FakeEndpoint, str]]:
    """A fake endpoint on a free loopback port, in a thread of its own."""
    fake = FakeEndpoint()
    loop = asyncio.new_event_loop()
    started = threading.Event()
    address: list[str] = []

    async def start() -> web.AppRunner:
        runner = web.AppRunner(fake.app(), handler_cancellation=True, shutdown_timeout=0.5)
        await runner.setup()
        site = web.TCPSite(runner, "127.0.0.1", 0)
        await site.start()
        host, port = runner.addresses[0][:2]
        address.append(f"http://{host}:{port}")
        return runner

    def serve() -> None:
        runner = loop.run_until_complete(start())
        started.set()
        loop.run_forever()
        loop.run_until_complete(runner.cleanup())
        loop.close()

    thread = threading.Thread(target=serve, daemon=True)
    thread.start()
    assert started.wait(10)
    yield fake, address[0]
    loop.call_soon_threadsafe(loop.stop)
    thread.join(10)


def statuses(url: str) -> dict[str, str]:
    report = run_suite(Target(url, KEY, timeout_s=10))
    return {result.name: result.status for result in report.results}


def test_a_good_endpoint_passes_every_check(endpoint: tuple[FakeEndpoint, str]) -> None:
    assert statuses(endpoint[1]) == dict.fromkeys(CHECKS, "passed")


FAULTS = {
    "no DONE": {"streaming", "concurrent streams"},
    "bad usage": {"chat", "completion", "streaming"},
    "any model": {"error: unknown model"},
    "no auth": {"error: wrong key"},
    "bad JSON": {"constrained: JSON schema"},
    "bad regex": {"constrained: regex"},
    "no cache": {"shared prefix"},
    "leaks": {"cancellation"},
}


@pytest.mark.parametrize("fault", FAULTS)
def test_a_fault_fails_its_checks_and_no_other(
    endpoint: tuple[FakeEndpoint, str], fault: str
) -> None:
    endpoint[0].faults.add(fault)
    seen = statuses(endpoint[1])
    assert FAULTS[fault] == {name for name, status in seen.items() if status == "failed"}


def test_without_a_key_the_key_check_is_skipped_with_its_reason(
    endpoint: tuple[FakeEndpoint, str],
) -> None:
    endpoint[0].faults.add("no auth")
    report = run_suite(Target(endpoint[1], timeout_s=10))
    skipped = {r.name: r.detail for r in report.results if r.status == "skipped"}
    assert skipped == {"error: wrong key": "tested without a key (give --api-key)"}
    assert report.passed


def test_a_trailing_v1_in_the_url_is_removed() -> None:
    assert Target("http://127.0.0.1:1/v1/").base_url == "http://127.0.0.1:1"


def test_a_refused_key_is_one_clear_error(endpoint: tuple[FakeEndpoint, str]) -> None:
    with pytest.raises(EndpointTestError, match="refused the key"):
        run_suite(Target(endpoint[1], "wrong", timeout_s=10))


def test_an_unreachable_endpoint_is_one_clear_error() -> None:
    with pytest.raises(EndpointTestError, match=r"no answer from http://127\.0\.0\.1:9"):
        run_suite(Target("http://127.0.0.1:9", timeout_s=2))


def test_junit_counts_failures_and_names_them(endpoint: tuple[FakeEndpoint, str]) -> None:
    endpoint[0].faults.add("bad regex")
    report = run_suite(Target(endpoint[1], KEY, timeout_s=10))
    suite = ElementTree.fromstring(Reports((report,)).to_junit())[0]
    failed = [case.get("name") for case in suite if case.find("failure") is not None]
    assert (suite.get("failures"), failed) == ("1", ["constrained: regex"])
    assert "FAIL  constrained: regex" in report.to_text()
