"""Which fleet and which of its workers a model's name means; and who may ask for which class."""

from __future__ import annotations

import pytest

from sglrouter.access.keys import KeyInfo
from sglrouter.fleet.workers import Address, Report, Seen, WorkerSet
from sglrouter.models import FleetRoute
from sglrouter.serving.resolve import priority_of, resolve
from sglrouter.wire.replies import Failure


def with_adapters(**models) -> WorkerSet:
    workers = WorkerSet({name: FleetRoute(models=names) for name, names in models.items()})
    workers.apply([Seen("i-1", "chat", Address("127.0.0.1", 1), None)])
    report = Report("ready", 0, None, {"adapters": ["sql", "b:c"]})
    workers.reported(workers.workers["i-1"], report, 0.0)
    workers.refresh(0.0)
    return workers


RESOLVED = [
    ("tiny", ("chat", "")),
    ("org/qwen:7b", ("chat", "")),
    ("tiny:sql", ("chat", "sql")),
    ("org/qwen:7b:sql", ("chat", "sql")),
    ("tiny:b:c", ("chat", "b:c")),
    ("tiny:none", "No worker of `tiny` has the adapter `none`."),
    ("tiny:", "No worker of `tiny` has the adapter ``."),
    ("other:sql", "No worker of `other` has the adapter `sql`."),
    ("nothing", "The model `nothing` does not exist."),
    ("no:sql", "The model `no:sql` does not exist."),
    (":sql", "The model `:sql` does not exist."),
    (None, "Several fleets are served here: say which `model` is meant."),
]


@pytest.mark.parametrize(("model", "expected"), RESOLVED)
def test_a_name_means_a_fleet_and_perhaps_an_adapter(model, expected):
    workers = with_adapters(chat=("tiny", "org/qwen:7b"), spare=("other",))
    found = resolve(workers, model)
    if isinstance(found, Failure):
        assert found.message == expected
    else:
        assert (found[0].name, found[1]) == expected


def test_a_fleet_of_any_model_takes_names_with_colons():
    workers = with_adapters(chat=("*",))
    assert resolve(workers, "llama3:8b") == (workers.fleets["chat"], "")


PRIORITIES = [
    (b"", KeyInfo("a"), "normal"),
    (b"high", KeyInfo("a"), "normal"),
    (b"low", KeyInfo("a"), "low"),
    (b"High", KeyInfo("a", priority="high"), "high"),
    (b"", KeyInfo("a", priority="low"), "low"),
    (b"normal", KeyInfo("a", priority="low"), "low"),
    (b"high", KeyInfo(""), "high"),
    (b"urgent", KeyInfo("a"), "normal"),
]


@pytest.mark.parametrize(("header", "key", "expected"), PRIORITIES)
def test_a_class_is_at_most_the_keys(header, key, expected):
    assert priority_of(header, key) == expected


def test_an_adapter_goes_to_the_workers_that_have_it(lab):
    """Also when another worker is idle; unknown ones are 404."""

    async def scenario():
        plain, tuned = lab.FakeWorker(), lab.FakeWorker(state={"adapters": ["sql"]})
        async with lab.world(plain, tuned) as world:
            for _ in range(4):
                answer = await world.ask(lab.post({"model": "tiny:sql"}))
                assert answer.header("x-sglctl-worker") == tuned.id
            assert tuned.requests[0].body == b'{"model": "tiny:sql"}'
            missing = await world.ask(lab.post({"model": "tiny:none"}))
            assert (missing.status, missing.error["code"]) == (404, "model_not_found")
            tuned.state = {"adapters": ["sql"], "state": "draining"}
            await lab.until(lambda: world.router.workers.ready_count() == 1)
            assert (await world.ask(lab.post({"model": "tiny:sql"}))).status == 503

    lab.run(scenario())


def test_sagemakers_routes_are_served(lab):
    """/invocations is a chat completion to SGLang, /ping says what /health says."""

    async def scenario():
        worker = lab.FakeWorker()
        async with lab.world(worker) as world:
            document = {"model": "tiny", "messages": [{"role": "user", "content": "a"}]}
            assert (await world.ask(lab.post(document, path="/invocations"))).status == 200
            assert worker.requests[0].head.startswith(b"POST /invocations ")
            ping = await world.ask(b"GET /ping HTTP/1.1\r\nhost: x\r\n\r\n")
            assert ping.status == 200

    lab.run(scenario())
