"""The admin listener: who may ask, what it shows, drain and undrain."""

from __future__ import annotations

import asyncio
import json

import pytest

KEY = "admin-key-0123456789"
BEARER = f"Authorization: Bearer {KEY}\r\n"


@pytest.fixture
def admin(lab):
    """Ask the admin listener of a world: `await admin(world, "POST /x", headers)`."""

    async def ask(world, line, headers=""):
        streams = await asyncio.open_connection("127.0.0.1", world.service.admin_port)
        streams[1].write(f"{line} HTTP/1.1\r\nhost: x\r\n{headers}\r\n".encode())
        answer = await lab.Client(*streams).answer()
        streams[1].close()
        return answer

    return ask


@pytest.fixture
def key_file(tmp_path):
    path = tmp_path / "admin-key"
    path.write_text(KEY + "\n")
    return {"file": str(path)}


GUARDED = ["GET /workers", "GET /config", "GET /index", "GET /ready", "POST /reload"]
GUARDED += ["POST /workers/i-1/drain", "GET /nothing", "POST /health/"]


def test_everything_but_health_and_metrics_wants_the_admin_key(lab, admin, key_file):
    async def scenario():
        async with lab.world(lab.FakeWorker(), admin_key=key_file) as world:
            for line in GUARDED:
                for headers in ("", "Authorization: Bearer wrong-key-0123\r\n", "X-Api-Key: x\r\n"):
                    answer = await admin(world, line, headers)
                    assert (answer.status, answer.error["code"]) == (401, "invalid_api_key"), line
                assert (await admin(world, line, BEARER)).status != 401
            assert (await admin(world, "GET /workers", f"x-api-key: {KEY}\r\n")).status == 200
            assert (await admin(world, "GET /health")).status == 200
            assert (await admin(world, "GET /metrics")).status == 200
            assert KEY not in (await admin(world, "GET /config", BEARER)).body.decode()

    lab.run(scenario())


def test_too_many_wrong_admin_keys_are_told_so_and_the_right_one_still_works(lab, admin, key_file):
    async def scenario():
        async with lab.world(lab.FakeWorker(), admin_key=key_file) as world:
            world.router.limits.failed_per_minute = 2
            statuses = [(await admin(world, "GET /workers")).status for _ in range(4)]
            assert statuses == [401, 401, 429, 429]
            assert (await admin(world, "GET /workers", BEARER)).status == 200

    lab.run(scenario())


def test_an_admin_key_that_is_not_loaded_opens_nothing(lab, admin, key_file):
    async def scenario():
        async with lab.world(lab.FakeWorker(), admin_key=key_file) as world:
            world.router.admin_key_hash = None
            answer = await admin(world, "GET /workers", BEARER)
            assert (answer.status, answer.error["code"]) == (503, "keys_not_loaded")

    lab.run(scenario())


def test_a_drained_worker_gets_nothing_new_and_is_given_back(lab, admin):
    """Twice is once; the registrar's next reads change nothing."""

    async def scenario():
        first, second = lab.FakeWorker(), lab.FakeWorker()
        async with lab.world(first, second) as world:
            path = f"POST /workers/{first.id}"
            for changed in (True, False):
                answer = json.loads((await admin(world, path + "/drain")).body)
                assert (answer["drained_here"], answer["changed"]) == (True, changed)
                assert "other routers" in answer["done"].lower()
            worker = world.router.workers.workers[first.id]
            read_at = worker.read_at
            await lab.until(lambda: worker.read_at > read_at, "a read after the drain")
            for _ in range(6):
                assert (await world.ask(lab.post())).header("x-sglctl-worker") == second.id
            rows = json.loads((await admin(world, "GET /workers")).body)["workers"]
            assert {r["id"]: (r["drained_here"], r["chosen_from"]) for r in rows} == {
                first.id: (True, False),
                second.id: (False, True),
            }
            answer = json.loads((await admin(world, path + "/undrain")).body)
            assert (answer["drained_here"], answer["changed"]) == (False, True)
            await admin(world, f"POST /workers/{second.id}/drain")
            assert (await world.ask(lab.post())).header("x-sglctl-worker") == first.id

    lab.run(scenario())


def test_a_drained_worker_finishes_what_it_has(lab, admin):
    async def slow(request, writer):
        await release.wait()
        await lab.plain(b"late")(request, writer)

    release = asyncio.Event()

    async def scenario():
        worker = lab.FakeWorker(handler=slow)
        async with lab.world(worker) as world:
            asking = asyncio.ensure_future(world.ask(lab.post()))
            await lab.until(lambda: len(worker.requests) == 1)
            answer = await admin(world, f"POST /workers/{worker.id}/drain")
            assert json.loads(answer.body)["in_flight"] == 1
            release.set()
            assert (await asking).body == b"late"
            assert (await admin(world, "GET /health")).status == 503

    lab.run(scenario())


WRONG = [
    ("POST /workers/i-none/drain", 404, "worker_not_found"),
    ("POST /workers//drain", 404, "worker_not_found"),
    ("POST /workers/%ff/drain", 404, "worker_not_found"),
    ("POST /workers/a/stop", 404, "route_not_found"),
    ("POST /workers/a/b/drain", 404, "route_not_found"),
    ("GET /flush", 404, "route_not_found"),
    ("POST /workers", 405, "method_not_allowed"),
    ("GET /reload", 405, "method_not_allowed"),
    ("DELETE /workers", 405, "method_not_allowed"),
    ("POST /reload", 409, "no_reload"),
]


def test_what_is_no_admin_route_is_refused(lab, admin):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            for line, status, code in WRONG:
                answer = await admin(world, line)
                assert (line, answer.status, answer.error["code"]) == (line, status, code)

    lab.run(scenario())


def test_a_reload_is_asked_for(lab, admin):
    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            asked = asyncio.Event()
            world.service.control.admin.request_reload = asked.set
            answer = await admin(world, "POST /reload")
            assert (answer.status, asked.is_set()) == (202, True)

    lab.run(scenario())


def test_readiness_names_what_is_missing(lab, admin, tmp_path):
    key = tmp_path / "external-key"
    key.write_text("external-key-1")
    external = {
        "kind": "openai",
        "url": "https://api.example.com",
        "key": {"file": str(key)},
        "models": {"tiny": "gpt"},
    }

    async def scenario():
        fleets = {"chat": {"models": ["tiny"]}, "idle": {"models": ["none"]}}
        worker = lab.FakeWorker()
        async with lab.world(worker, fleets=fleets, externals={"out": external}) as world:
            answer = await admin(world, "GET /ready")
            expected = {"version": 1, "ready": False, "waits_for": ["fleet:idle"]}
            assert (answer.status, json.loads(answer.body)) == (503, expected)
            del world.router.external_keys["out"]
            world.router.draining = True
            missing = json.loads((await admin(world, "GET /ready")).body)["waits_for"]
            assert missing == ["fleet:idle", "external:out", "draining"]
        async with lab.world(lab.FakeWorker()) as world:
            assert (await admin(world, "GET /ready")).status == 200

    lab.run(scenario())


def test_the_index_tells_what_it_knew(lab, admin):
    """The second request with the same long prompt is known where the first went."""

    async def scenario():
        async with lab.world(lab.FakeWorker()) as world:
            for _ in range(2):
                await world.ask(lab.post({"model": "tiny", "prompt": "many words " * 400}))
            fleet = json.loads((await admin(world, "GET /index")).body)["fleets"]["chat"]
            assert fleet["policy"] == "prefix_aware"
            assert fleet["index_capacity"] > fleet["index_entries"] >= 0
            assert 0 < fleet["matched_tokens"] < fleet["prompt_tokens"]
            text = (await admin(world, "GET /metrics")).body.decode()
            matched = f'index_matched_tokens_total{{fleet="chat"}} {fleet["matched_tokens"]:.0f}'
            assert matched in text

    lab.run(scenario())
