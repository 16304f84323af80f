"""The agent and the engine as their services run them: two processes and systemd's socket."""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
import socket
import subprocess
import sys
import urllib.request
from pathlib import Path

import pytest
import worker_fakes as fakes


def sglworker(environment: dict[str, str], *words: str) -> subprocess.CompletedProcess[str]:
    """Run a command of the host; at most 20 s."""
    command = [sys.executable, "-m", "sglworker", *words]
    return subprocess.run(
        command, env=environment, capture_output=True, text=True, timeout=20, check=False
    )


def page(folder: Path, path: str) -> str:
    url = json.loads((folder / "run" / "agent.json").read_text())["url"]
    with urllib.request.urlopen(url + path, timeout=5) as answer:
        return str(answer.read().decode())


def test_the_services_bring_a_worker_up_drain_it_and_end(tmp_path: Path) -> None:
    """READY=1 once engine.json is there; engine becomes the stub; drain, undrain, SIGTERM."""
    asyncio.run(_services(tmp_path))


async def _services(folder: Path) -> None:
    address = f"127.{random.randint(100, 250)}.{random.randint(0, 250)}.{random.randint(2, 250)}"
    around = fakes.Surroundings(address)
    (folder / "model").mkdir()
    (folder / "model" / "w").write_bytes(b"1234")
    fakes.write_host_document(folder / "worker.yaml", address, folder / "model")
    document = json.loads((folder / "worker.yaml").read_text())
    document["engine"]["command"] = [sys.executable, "-m", "sglocal.stub_engine"]
    (folder / "worker.yaml").write_text(json.dumps(document))
    systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    systemd.bind(str(folder / "notify"))
    systemd.setblocking(False)
    loop = asyncio.get_running_loop()
    async with fakes.running(around) as extra:
        environment = os.environ | extra | {
            "SGLWORKER_CONFIG": str(folder / "worker.yaml"),
            "SGLWORKER_RUN_DIR": str(folder / "run"),
        }  # fmt: skip
        agent = await asyncio.create_subprocess_exec(
            sys.executable, "-m", "sglworker", "agent",
            env=environment | {"NOTIFY_SOCKET": str(folder / "notify")},
        )  # fmt: skip
        engine = None
        try:
            told = ""
            async with asyncio.timeout(15):
                while "READY=1" not in told:
                    told += (await loop.sock_recv(systemd, 4096)).decode()
            assert (folder / "run" / "engine.json").exists()
            engine = await asyncio.create_subprocess_exec(
                sys.executable, "-m", "sglworker", "engine", env=environment
            )
            await fakes.until(lambda: bool(around.completed), 20)
            state = await asyncio.to_thread(sglworker, environment, "state")
            assert json.loads(state.stdout)["state"] == "ready"
            metrics = await asyncio.to_thread(page, folder, "/metrics")
            assert "sglworker_engine_starts_total 1.0" in metrics
            drained = await asyncio.to_thread(sglworker, environment, "drain", "--wait", "10")
            assert (drained.returncode, json.loads(drained.stdout)["state"]) == (0, "drained")
            undrained = await asyncio.to_thread(sglworker, environment, "undrain")
            assert undrained.returncode == 0
            agent.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(agent.wait(), 10) == 0
            gone = await asyncio.to_thread(sglworker, environment, "state")
            assert (gone.returncode, "does not answer" in gone.stderr) == (1, True)
            engine.send_signal(signal.SIGTERM)
            assert await asyncio.wait_for(engine.wait(), 10) == 0
        finally:
            systemd.close()
            for process in (agent, engine):
                if process is not None and process.returncode is None:
                    process.kill()
                    await process.wait()


@pytest.mark.parametrize(
    ("words", "code", "message"),
    [(("agent",), 3, "SGLWORKER_CONFIG"), (("engine",), 4, "engine.json"),
     (("state",), 1, "no agent runs here"), (("drain", "--wait", "-1"), 2, "0 to 172800"),
     (("version",), 0, "")],
)  # fmt: skip
def test_a_host_without_agent_gets_one_clear_error(
    tmp_path: Path, words: tuple[str, ...], code: int, message: str
) -> None:
    """No traceback: what is missing, and the exit code of its kind."""
    environment = os.environ | {
        "SGLWORKER_CONFIG": str(tmp_path / "none.yaml"),
        "SGLWORKER_RUN_DIR": str(tmp_path),
    }
    result = sglworker(environment, *words)
    assert (result.returncode, message in result.stderr) == (code, True)
    assert "Traceback" not in result.stderr


def test_an_agent_that_cannot_write_its_files_says_so(tmp_path: Path) -> None:
    """A full disk, or no folder: one line, exit code 4; systemd starts it again."""
    fakes.write_host_document(tmp_path / "worker.yaml", "127.0.0.1", tmp_path)
    (tmp_path / "run").write_text("not a folder")
    environment = os.environ | {
        "SGLWORKER_CONFIG": str(tmp_path / "worker.yaml"),
        "SGLWORKER_RUN_DIR": str(tmp_path / "run"),
        "AWS_EC2_METADATA_SERVICE_ENDPOINT": "http://127.0.0.1:1",
    }
    result = sglworker(environment, "agent")
    assert (result.returncode, "cannot write" in result.stderr) == (4, True)
    assert "Traceback" not in result.stderr
