"""The admin listener of several processes: what it is told, every process does."""

from __future__ import annotations

import asyncio
import json
import time

from tests.unit.router.command import DEADLINE_S, serving

LISTEN = {"host": "127.0.0.1", "port": 0, "admin_host": "127.0.0.1", "admin_port": 0}


def test_a_worker_drained_once_is_chosen_by_none_of_the_processes(lab, tmp_path):
    """Every connection may land on another process; all of them are told. Keys and sums as well."""
    keys = tmp_path / "keys.json"
    keys.write_text('{"team": "sk-0123456789"}')
    answer = lab.plain(b'{"usage": {"prompt_tokens": 2, "completion_tokens": 1}}')

    async def post(router, path):
        line = f"POST {path} HTTP/1.1\r\nhost: x\r\n\r\n".encode()
        return await router.ask(line, router.admin_port)

    async def workers_of(router, count):
        """Who answers `count` requests, each on a connection of its own."""
        asked = lab.post(headers="Authorization: Bearer sk-0123456789\r\n")
        answers = [await router.ask(asked) for _ in range(count)]
        assert {a.status for a in answers} == {200}
        return {a.header("x-sglctl-worker") for a in answers}

    async def scenario():
        fakes = [lab.FakeWorker(handler=answer), lab.FakeWorker(handler=answer)]
        for fake in fakes:
            await fake.start()
        listed = [{"url": f"http://{fake.id}", "fleet": "chat"} for fake in fakes]
        document = {
            "environment": "local",
            "listen": {**LISTEN, "processes": 2},
            "policy": "round_robin",
            "fleets": {"chat": {"models": ["tiny"]}},
            "keys": {"file": str(keys)},
            "discovery": {"kind": "static", "workers": listed},
        }
        path = tmp_path / "router.json"
        path.write_text(json.dumps(document))
        async with serving(lab, tmp_path, "--config", str(path), workers=2) as router:
            first, second = (fake.id for fake in fakes)
            drained = await post(router, f"/workers/{first}/drain")
            assert json.loads(drained.body)["drained_here"] is True
            deadline = time.monotonic() + DEADLINE_S
            while await workers_of(router, 12) != {second}:
                assert time.monotonic() < deadline, "a process still chooses it"
                await asyncio.sleep(0.05)
            assert await workers_of(router, 30) == {second}
            await post(router, f"/workers/{first}/undrain")
            while await workers_of(router, 12) != {first, second}:
                assert time.monotonic() < deadline, "no process chooses it again"
                await asyncio.sleep(0.05)
            served = sum(len(fake.requests) for fake in fakes)
            await router.settles("sglrouter_tokens_total", 3 * served)
            await router.settles("sglrouter_choices_total", served)
        for fake in fakes:
            await fake.stop()

    lab.run(scenario())
