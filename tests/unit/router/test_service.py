"""The router's own life: admin listener, drain, command line."""

from __future__ import annotations

import asyncio
import json
import os
import signal
import socket
import subprocess
import sys

import pytest

from sglrouter import __main__ as cli
from sglrouter.service import tell_systemd

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


def test_the_command_serves_and_ends_on_sigterm(lab, tmp_path):
    """A real process: flags alone, READY told to systemd, exit 0; any model goes to the worker."""

    async def scenario():
        worker = lab.FakeWorker()
        await worker.start()
        notify = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        notify.bind(str(tmp_path / "notify"))
        notify.settimeout(10)
        process = subprocess.Popen(  # noqa: ASYNC220 - it returns at once
            [
                sys.executable,
                "-m",
                "sglrouter",
                "serve",
                "--worker",
                f"http://{worker.id}",
                "--listen",
                "127.0.0.1:0",
                "--admin-listen",
                "127.0.0.1:0",
            ],
            stdout=subprocess.PIPE,
            env={**os.environ, "NOTIFY_SOCKET": str(tmp_path / "notify")},
        )
        try:
            assert await asyncio.to_thread(notify.recv, 100) == b"READY=1"
            assert process.stdout is not None
            port = 0
            ready = False
            while not (port and ready):
                line = json.loads(await asyncio.to_thread(process.stdout.readline))
                if line["event"] == "started":
                    port = int(line["listen"].rpartition(":")[2])
                ready = ready or line.get("state") == "ready"
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            client = lab.Client(reader, writer)
            await asyncio.sleep(0.3)
            writer.write(lab.post({"model": "whatever"}))
            assert (await client.answer()).status == 200
            process.send_signal(signal.SIGTERM)
            process.send_signal(signal.SIGTERM)
            await asyncio.to_thread(notify.recv, 100)
            process.send_signal(signal.SIGTERM)
            assert await asyncio.to_thread(process.wait, 10) == 0
            writer.close()
        finally:
            process.kill()
            process.wait()
            process.stdout.close()
            notify.close()
            await worker.stop()

    lab.run(scenario())


BAD_COMMANDS = [
    (["serve"], 3, "say which workers"),
    (["serve", "--config", "/does/not/exist"], 3, "cannot be read"),
    (["serve", "--worker", "https://x:1"], 3, "write http://HOST:PORT"),
    (["serve", "--worker", "http://127.0.0.1:1", "--listen", "x"], 3, "write HOST:PORT"),
    (["serve", "--worker", "http://127.0.0.1:1", "--key-file", "/no"], 3, "keys cannot be read"),
    (["serve", "--worker", "http://127.0.0.1:1", "--listen", "h:²"], 3, "write HOST:PORT"),
]


@pytest.mark.parametrize(("argv", "code", "text"), BAD_COMMANDS)
def test_a_wrong_command_is_one_line_and_an_exit_code(argv, code, text, capfd):
    listen = [] if "--listen" in argv else ["--listen", "127.0.0.1:0"]
    assert cli.main([*argv, *listen, "--admin-listen", "127.0.0.1:0"]) == code
    message = capfd.readouterr().err
    assert text in message
    assert message.count("\n") == 1


def test_a_port_that_is_taken_is_said(capfd):
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        taken.listen()
        port = taken.getsockname()[1]
        argv = ["serve", "--worker", "http://127.0.0.1:1", "--admin-listen", "127.0.0.1:0"]
        assert cli.main([*argv, "--listen", f"127.0.0.1:{port}"]) == 4
        assert f"cannot listen on 127.0.0.1:{port}" in capfd.readouterr().err


def test_flags_come_before_the_environment_and_that_before_the_document(tmp_path, monkeypatch):
    path = tmp_path / "router.yaml"
    path.write_text(
        "environment: local\nfleets: {chat: {models: [tiny]}}\n"
        "listen: {host: 10.0.0.1, port: 1}\ndiscovery: {kind: aws}\n"
    )

    def listen(*flags):
        arguments = cli.parser().parse_args(["serve", "--config", str(path), *flags])
        document = cli.document_of(arguments)
        return document.listen.host, document.listen.port, document.listen.admin_host

    assert listen() == ("10.0.0.1", 1, "0.0.0.0")
    monkeypatch.setenv("SGLCTL_HOST_ADDRESS", "127.1.2.3")
    assert listen() == ("127.1.2.3", 1, "127.1.2.3")
    assert listen("--listen", "127.0.0.9:7") == ("127.0.0.9", 7, "127.1.2.3")


def test_flags_alone_make_a_whole_document():
    """Every fleet gets the queue; what a flag does not say is the default."""

    def document(*flags):
        argv = ["serve", "--worker", "http://127.0.0.1:1", *flags]
        return cli.document_of(cli.parser().parse_args(argv))

    plain = document()
    assert (plain.listen.processes, plain.fleets["default"].queue.size) == (1, 512)
    assert (plain.listen.port, plain.listen.admin_port) == (8000, 8001)
    told = document("--processes", "4", "--queue", "0", "--policy", "session")
    assert (told.listen.processes, told.policy) == (4, "session")
    assert told.fleets["default"].queue.size == 0


def test_a_key_file_replaces_the_documents_secret_and_nothing_else(tmp_path):
    """A client of a router without a load balancer cannot choose the address it is known by."""
    path = tmp_path / "router.yaml"
    path.write_text(
        "environment: local\nfleets: {chat: {models: [tiny]}}\ndiscovery: {kind: aws}\n"
        "keys: {secret: s, failed_per_minute: 7}\n"
    )

    def keys(*flags):
        arguments = cli.parser().parse_args(["serve", *flags, "--key-file", "k.json"])
        found = cli.document_of(arguments).keys
        return found.file, found.secret, found.failed_per_minute, found.forwarded_for

    assert keys("--config", str(path)) == ("k.json", None, 7, True)
    assert keys("--worker", "http://127.0.0.1:1") == ("k.json", None, 60, False)


@pytest.mark.parametrize(
    "flags",
    [["--processes", "0"], ["--processes", "x"], ["--processes", "²"], ["--queue", "-1"]],
)
def test_a_number_out_of_range_is_wrong_usage_and_says_the_range(flags, capsys):
    with pytest.raises(SystemExit) as stopped:
        cli.main(["serve", "--worker", "http://127.0.0.1:1", *flags])
    assert stopped.value.code == 2
    assert "write a number from" in capsys.readouterr().err


def test_help_teaches_each_flag_with_an_example(capsys):
    """And its examples are commands that parse."""
    with pytest.raises(SystemExit):
        cli.main(["serve", "--help"])
    text = capsys.readouterr().out
    examples = text.partition("examples:")[2].replace("\\\n", " ").splitlines()
    commands = [x.split()[1:] for x in examples if x.strip().startswith("sglrouter serve")]
    parsed = [cli.parser().parse_args(argv) for argv in commands]
    assert len(parsed) == 3
    assert parsed[1].processes == 4


def test_systemd_is_told_only_where_it_listens(monkeypatch):
    monkeypatch.delenv("NOTIFY_SOCKET", raising=False)
    tell_systemd("READY=1")
