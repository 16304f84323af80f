"""The registrar: which workers there are, and which may be chosen."""

from __future__ import annotations

import asyncio
import json
import os
import socket
import threading

import boto3
import pytest
from moto import mock_aws

from sglrouter import aws, control
from sglrouter.access import key_source
from sglrouter.fleet import discovery
from sglrouter.fleet.agent_client import ReadError
from sglrouter.fleet.peer_registrar import make_peer_source
from sglrouter.fleet.peers import Peers
from sglrouter.fleet.registrar import read_state
from sglrouter.fleet.workers import Address, Report, Seen, WorkerSet
from sglrouter.log import Log
from sglrouter.models import (
    AwsDiscovery,
    AwsPeers,
    FileDiscovery,
    FleetRoute,
    RouterDocument,
    StaticWorker,
)
from sglrouter.service import Service


def seen(name: str, fleet: str = "chat", port: int = 1) -> Seen:
    return Seen(name, fleet, Address("127.0.0.1", port), Address("127.0.0.1", 2))


def ready_set(*names: str, now: float = 100.0) -> WorkerSet:
    workers = WorkerSet({"chat": FleetRoute(models=("tiny",))})
    workers.apply([seen(name) for name in names])
    for worker in workers.workers.values():
        workers.reported(worker, Report("ready", 0, None, {}), now)
    workers.refresh(now)
    return workers


def test_a_drain_is_obeyed_within_a_second_and_its_streams_live(lab):
    """The draining worker keeps its stream to the end and gets nothing new."""
    go = asyncio.Event()

    async def held(request, writer):
        await go.wait()
        writer.write(b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok")

    async def scenario():
        first = lab.FakeWorker(held)
        async with lab.world(first) as world:
            client = await world.client()
            client.writer.write(lab.post())
            await lab.until(lambda: first.requests)
            first.state = {"state": "draining"}
            loop = asyncio.get_running_loop()
            began = loop.time()
            await lab.until(lambda: world.router.workers.ready_count() == 0)
            assert loop.time() - began < 1.0
            assert (await world.ask(lab.post())).status == 503
            go.set()
            assert (await client.answer()).body == b"ok"

    lab.run(scenario())


@pytest.mark.parametrize("fault", ["gone", "500", "another fleet"])
def test_a_worker_whose_state_cannot_be_read_is_not_chosen_after_three_reads(lab, fault):
    """And is chosen again when it can."""

    async def scenario():
        sick, good = lab.FakeWorker(), lab.FakeWorker()
        async with lab.world(sick, good) as world:
            port = sick.port
            if fault == "gone":
                await sick.stop()
            elif fault == "500":
                sick.state_status = 500
            else:
                sick.state = {"fleet": "other"}
            await lab.until(lambda: world.router.workers.ready_count() == 1)
            row = world.router.workers.workers[f"127.0.0.1:{port}"]
            assert row.failed_reads >= 3
            if fault == "gone":
                sick.server = await asyncio.start_server(sick._serve, "127.0.0.1", port)
            sick.state_status, sick.state = 200, {}
            await lab.until(lambda: world.router.workers.ready_count() == 2)

    lab.run(scenario())


def test_a_state_older_than_three_seconds_is_not_trusted():
    """Even when no read has failed yet."""
    workers = ready_set("a", "b", now=100.0)
    workers.reported(workers.workers["b"], Report("ready", 0, None, {}), 102.0)
    for now, expected in [(103.0, ["a", "b"]), (103.1, ["b"]), (105.0, ["b"])]:
        workers.refresh(now)
        assert [w.id for w in workers.fleets["chat"].ready] == expected


def test_when_every_worker_falls_silent_those_last_ready_are_chosen_for_half_a_minute():
    """A router that was not scheduled for a while refuses nobody; a drained worker stays out.

    While one of them is heard, it is not the router that cannot see.
    """
    workers = ready_set("a", "b", "c", now=100.0)
    workers.reported(workers.workers["b"], Report("draining", 0, None, {}), 101.0)
    workers.drain_here(workers.workers["c"], True)
    for now, expected in [(103.1, []), (104.1, ["a"]), (130.0, ["a"]), (130.1, [])]:
        workers.refresh(now)
        assert [w.id for w in workers.fleets["chat"].ready] == expected


def test_an_engine_without_an_agent_is_not_believed_to_be_ready():
    """It is its own /health that is silent."""
    workers = WorkerSet({"chat": FleetRoute(models=("tiny",))})
    workers.apply([Seen("a", "chat", Address("127.0.0.1", 1), None)])
    workers.reported(workers.workers["a"], Report("ready", 0, None, {}), 100.0)
    for now, expected in [(122.0, 1), (122.1, 0)]:
        workers.refresh(now)
        assert workers.ready_count() == expected


@pytest.mark.parametrize(
    "state",
    ["booting", "hydrating", "starting", "warming_up", "draining", "drained", "failed", "warmed"],
)
def test_only_ready_workers_are_chosen(state):
    workers = ready_set("a")
    workers.reported(workers.workers["a"], Report(state, 0, None, {}), 100.0)
    workers.refresh(100.0)
    assert workers.fleets["chat"].ready == ()


def test_a_worker_that_stays_keeps_its_counters():
    workers = ready_set("a", "b")
    kept = workers.workers["a"]
    kept.in_flight = 3
    added, removed = workers.apply([seen("a"), seen("c"), seen("x", fleet="unknown")])
    assert ([w.id for w in added], [w.id for w in removed]) == (["c"], ["b"])
    assert workers.workers["a"] is kept
    assert sorted(workers.workers) == ["a", "c"]


def test_a_state_of_another_environment_is_refused(lab):
    document = lab.FakeWorker(port=5).document()
    body = json.dumps(document).encode()
    report = read_state(body, "local", "chat")
    assert (report.state, report.engine) == ("ready", Address("127.0.0.1", 5))
    with pytest.raises(ReadError, match="local/chat"):
        read_state(body, "prod", "chat")
    with pytest.raises(ReadError, match="not a worker state"):
        read_state(b"{}", "local", "chat")


def test_a_worker_list_is_read_again_and_a_bad_one_is_not_an_empty_one(lab, tmp_path):
    """Half a file keeps the known set; a new file changes it."""
    path = tmp_path / "workers.yaml"

    async def scenario():
        a, b = lab.FakeWorker(), lab.FakeWorker()
        await b.start()
        await a.start()

        def listing(*workers):
            rows = [{"url": f"http://{w.id}", "fleet": "chat"} for w in workers]
            fresh = tmp_path / "fresh"
            fresh.write_text(json.dumps({"workers": rows}))
            fresh.replace(path)

        listing(a)
        kind = {"kind": "file", "path": str(path), "interval_s": 0.02, "state_interval_s": 0.05}
        async with lab.world(ready=False, discovery=kind) as world:
            known = world.router.workers
            await lab.until(lambda: known.ready_count() == 1)
            path.write_text("workers: [{")
            await lab.until(lambda: world.router.metrics.discovery_errors[()] > 2)
            assert [w.id for w in known.workers.values()] == [a.id]
            assert (await world.ask(lab.post())).status == 200
            listing(b)
            await lab.until(lambda: [w.id for w in known.workers.values()] == [b.id])
            await lab.until(lambda: known.ready_count() == 1)
            assert (await world.ask(lab.post())).header("x-sglctl-worker") == b.id
            assert [x["event"] for x in world.log()].count("discovery_failed") == 1
        await a.stop()
        await b.stop()

    lab.run(scenario())


def test_a_replaced_list_is_seen_even_with_the_age_and_size_of_the_old_one(lab, tmp_path):
    """As a deployment tool that keeps times writes it."""
    path, fresh = tmp_path / "workers.yaml", tmp_path / "fresh"

    def write(target, port):
        target.write_text(f"workers: [{{url: 'http://127.0.0.1:{port}', fleet: chat}}]")
        os.utime(target, ns=(10**18, 10**18))

    write(path, 1000)
    source = discovery.FileSource(FileDiscovery(path=str(path)))
    assert [item.engine.port for item in lab.run(source.read())] == [1000]
    write(fresh, 2000)
    fresh.replace(path)
    assert [item.engine.port for item in lab.run(source.read())] == [2000]


def test_where_no_agent_tells_it_the_list_says_a_workers_role():
    listed = [
        StaticWorker(url="http://127.0.0.1:1", fleet="chat"),
        StaticWorker(url="http://127.0.0.1:2", fleet="chat", role="prefill", bootstrap_port=8998),
    ]
    found = [(item.role, item.bootstrap_port) for item in discovery.seen_static(listed)]
    assert found == [("regular", None), ("prefill", 8998)]


def launch(ec2, fleet, environment="prod", role="worker"):
    tags = [
        {"Key": "sglctl:environment", "Value": environment},
        {"Key": "sglctl:role", "Value": role},
        {"Key": "sglctl:fleet", "Value": fleet},
    ]
    image = ec2.describe_images()["Images"][0]["ImageId"]
    (made,) = ec2.run_instances(
        ImageId=image,
        MinCount=1,
        MaxCount=1,
        TagSpecifications=[{"ResourceType": "instance", "Tags": tags}],
    )["Instances"]
    return made["InstanceId"], made["PrivateIpAddress"]


@pytest.fixture
def amazon(monkeypatch):
    """moto in place of AWS, and no client of an earlier test."""
    monkeypatch.setenv("AWS_DEFAULT_REGION", "us-east-1")
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "testing")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
    monkeypatch.delenv("AWS_ENDPOINT_URL", raising=False)
    aws._make.cache_clear()
    with mock_aws():
        yield boto3.client
    aws._make.cache_clear()


@pytest.mark.parametrize("own", [None, "10.0.0.1", "127.4.5.6"])
def test_aws_discovery_finds_the_running_workers_of_its_environment(lab, amazon, own):
    """By tags; other roles, environments and stopped instances are not workers."""
    ec2 = amazon("ec2")
    wanted = dict([launch(ec2, "chat"), launch(ec2, "embed")])
    launch(ec2, "chat", environment="dev")
    launch(ec2, "chat", role="router")
    stopped, _ = launch(ec2, "chat")
    ec2.stop_instances(InstanceIds=[stopped])
    source = discovery.AwsSource(AwsDiscovery(), "prod", own)
    found = lab.run(source.read())
    assert {item.id: item.fleet for item in found} == dict(
        zip(wanted, ["chat", "embed"], strict=True)
    )
    for item in found:
        private = wanted[item.id]
        host = "127." + private.split(".", 1)[1] if own == "127.4.5.6" else private
        assert item.engine == Address(host, 30000)
        assert item.agent == Address(host, 30080)


def test_aws_peers_are_the_running_routers_of_the_environment(lab, amazon):
    """This one is among them: it takes itself out by its instance id."""
    ec2 = amazon("ec2")
    wanted = dict(launch(ec2, "", role="router") for _ in range(2))
    launch(ec2, "chat")
    launch(ec2, "", environment="dev", role="router")
    source = make_peer_source(AwsPeers(), "prod", 8000, None)
    found = lab.run(source.read())
    assert {item.id: item.address for item in found} == {
        name: Address(address, 8000) for name, address in wanted.items()
    }
    itself, other = wanted
    peers = Peers(itself)
    peers.apply(found)
    assert list(peers.known) == [other]


def test_aws_discovery_reads_every_page():
    """An answer in pages is one set."""
    pages = [
        {
            "Instances": [
                {
                    "InstanceId": f"i-{n}",
                    "PrivateIpAddress": f"10.0.0.{n}",
                    "Tags": [{"Key": "sglctl:fleet", "Value": "chat"}],
                }
            ]
        }
        for n in range(3)
    ]
    found = discovery.seen_instances(
        [*pages, {"Instances": [{"InstanceId": "i-9", "Tags": []}]}], AwsDiscovery(), None
    )
    assert [item.id for item in found] == ["i-0", "i-1", "i-2"]


def test_a_prefill_worker_stands_in_the_place_of_its_decode_fleet():
    tags = [{"Key": "sglctl:fleet", "Value": "prompts"}, {"Key": "sglctl:pair", "Value": "chat"}]
    one = {"InstanceId": "i-1", "PrivateIpAddress": "10.0.0.1", "Tags": tags}
    (found,) = discovery.seen_instances([{"Instances": [one]}], AwsDiscovery(), None)
    assert (found.fleet, found.told_fleet) == ("chat", "prompts")


def test_an_agent_is_believed_about_its_own_fleet_alone(lab):
    """An address may have become another fleet's between two reads."""
    document = lab.FakeWorker(port=5).document() | {"fleet": "prompts", "role": "prefill"}
    body = json.dumps(document).encode()
    assert read_state(body, "local", "prompts").document["role"] == "prefill"
    with pytest.raises(ReadError, match="not of this fleet"):
        read_state(body, "local", "chat")


def test_keys_come_from_secrets_manager(lab, amazon):
    """Before they are there everything is refused with 503, not let through."""
    secrets = amazon("secretsmanager")

    async def scenario():
        keys = {"secret": "sglctl/local/api-keys", "interval_s": 0.05}
        async with lab.world(lab.FakeWorker(), keys=keys) as world:
            await lab.until(lambda: world.router.metrics.key_errors[()] > 0)
            header = "Authorization: Bearer sk-12345678\r\n"
            answer = await world.ask(lab.post(headers=header))
            assert (answer.status, answer.error["code"]) == (503, "keys_not_loaded")
            secrets.create_secret(Name="sglctl/local/api-keys", SecretString='{"a": "sk-12345678"}')
            await lab.until(lambda: world.router.keys.loaded)
            assert (await world.ask(lab.post(headers=header))).status == 200
            secrets.put_secret_value(
                SecretId="sglctl/local/api-keys", SecretString='{"a": "sk-87654321"}'
            )
            await lab.until(lambda: world.router.keys.find(b"sk-87654321") is not None)
            assert (await world.ask(lab.post(headers=header))).status == 401

    lab.run(scenario())


def test_who_comes_while_the_keys_are_first_read_waits_for_them(lab, monkeypatch):
    """A router that was restarted refuses nobody for what it is about to know."""
    asked, known = threading.Event(), threading.Event()

    def read(_name: str) -> str:
        asked.set()
        assert known.wait(10)
        return '{"a": "sk-12345678"}'

    monkeypatch.setattr(key_source, "_read_secret", read)
    monkeypatch.setattr(control, "FIRST_LOOK_S", 10.0)

    async def ask(port: int) -> bytes:
        reader, writer = await asyncio.open_connection("127.0.0.1", port)
        writer.write(lab.post(headers="Authorization: Bearer sk-12345678\r\n"))
        asyncio.get_running_loop().call_later(0.2, known.set)
        line = await reader.readline()
        writer.close()
        return line

    async def scenario():
        worker = lab.FakeWorker()
        await worker.start()
        with socket.create_server(("127.0.0.1", 0)) as sock:
            port = sock.getsockname()[1]
        data = {
            "environment": "local",
            "listen": {"host": "127.0.0.1", "port": port, "admin_port": 0},
            "fleets": {"chat": {"models": ["tiny"]}},
            "keys": {"secret": "sglctl/local/api-keys"},
            "discovery": {
                "kind": "static",
                "workers": [
                    {
                        "url": f"http://{worker.id}",
                        "agent_url": f"http://{worker.id}",
                        "fleet": "chat",
                    }
                ],
            },
        }
        log = Log(os.open(os.devnull, os.O_WRONLY))
        service = Service(RouterDocument.model_validate(data), log)
        starting = asyncio.create_task(service.start())
        try:
            await lab.until(asked.is_set)
            assert (await ask(port)).startswith(b"HTTP/1.1 200")
        finally:
            known.set()
            await starting
            await service.stop()
            log.close()
            await worker.stop()

    lab.run(scenario())
