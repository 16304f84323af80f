"""The command line: flags, exit codes, signals."""

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
