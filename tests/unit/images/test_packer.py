"""Packer: its output understood, its process always ended, its templates valid."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from sglctl.errors import ImageError
from sglctl.images.bake import artifact_id
from sglctl.images.packer import Transcript, ansible_playbook, packer_command, run_packer

ROOT = Path(__file__).parents[3]
FATAL = (
    '    null.worker: fatal: [default]: FAILED! => {"changed": false, "msg": "no \\"space\\" left"}'
)
LOOP = '    null.worker: failed: [default] (item=/tmp/*) => {"item": "x", "msg": "broken"}'
UNREACHABLE = '    null.worker: fatal: [default]: UNREACHABLE! => {"msg": "no route"}'


@pytest.mark.parametrize(
    ("lines", "expected"),
    [
        (["TASK [a : b] ***", FATAL], "task 'a : b' failed: no \"space\" left"),
        (["TASK [a : b] ***", LOOP], "task 'a : b' failed: broken"),
        (["TASK [a : b] ***", UNREACHABLE], "task 'a : b' failed: no route"),
        (["Error: Unsupported argument"], "Error: Unsupported argument"),
        ([], "Packer failed and said nothing"),
    ],
)
def test_a_failure_is_one_sentence_with_the_task_and_its_reason(
    lines: list[str], expected: str
) -> None:
    """The user sees this instead of a page of output."""
    transcript = Transcript()
    for line in lines:
        transcript.take(line)
    assert transcript.failure() == expected


def test_the_first_failure_is_reported_not_its_consequences() -> None:
    """What comes after the first is mostly caused by it."""
    transcript = Transcript()
    for line in ("TASK [a : b] ***", FATAL, LOOP):
        transcript.take(line)
    assert "space" in transcript.failure()


def test_task_names_are_streamed_and_the_output_is_kept(tmp_path: Path) -> None:
    """Progress while it runs, the log afterwards."""
    script = "print('x: TASK [role : one] ***'); print('noise'); print('x: TASK [two] **')"
    seen: list[str] = []
    log = tmp_path / "logs" / "bake.log"
    run_packer([sys.executable, "-c", script], os.environ, log, seen.append)
    assert seen == ["role : one", "two"]
    assert "noise" in log.read_text()


def test_a_failed_bake_names_its_log(tmp_path: Path) -> None:
    """The exit code decides, not the text."""
    log = tmp_path / "bake.log"
    with pytest.raises(ImageError) as caught:
        run_packer([sys.executable, "-c", "raise SystemExit(3)"], os.environ, log, print)
    assert str(log) in str(caught.value.hint)


def test_an_interrupted_bake_gets_sigint_and_may_clean_up(tmp_path: Path) -> None:
    """Packer terminates what it launched when it is interrupted; killing it would not."""
    mark = tmp_path / "cleaned"
    script = f"""
import pathlib, signal, sys, time
def clean(*_):
    pathlib.Path({str(mark)!r}).touch()
    sys.exit(1)
signal.signal(signal.SIGINT, clean)
print("TASK [started] *", flush=True)
time.sleep(60)
"""

    def interrupt(_: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        run_packer([sys.executable, "-c", script], os.environ, tmp_path / "log", interrupt)
    assert mark.exists()


def test_a_bake_on_this_machine_runs_inside_the_hosts_network(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    """Their addresses exist nowhere else."""
    monkeypatch.setattr(shutil, "which", lambda name: f"/usr/bin/{name}")
    command = packer_command(Path("t.hcl"), "null.worker", Path("v.json"), "sgl-1")
    assert command[:2] == ["nsenter", "--net=/run/netns/sgl-1"]
    assert packer_command(Path("t.hcl"), "x", Path("v.json"), None)[0] == "/usr/bin/packer"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ('{"builds": [{"artifact_id": "us-east-1:ami-0a1b2c3d"}]}', "ami-0a1b2c3d"),
        ('{"builds": []}', None),
        ('{"builds": [{"artifact_id": "Null"}]}', None),
        ("nonsense", None),
    ],
)
def test_the_image_id_comes_from_packers_manifest(
    tmp_path: Path, text: str, expected: str | None
) -> None:
    """A manifest without an id is an error, never an empty id."""
    manifest = tmp_path / "manifest.json"
    manifest.write_text(text)
    if expected is not None:
        assert artifact_id(manifest) == expected
        return
    with pytest.raises(ImageError):
        artifact_id(manifest)


@pytest.mark.skipif(shutil.which("packer") is None, reason="Packer is not installed")
@pytest.mark.parametrize("kind", ["worker", "router"])
def test_the_template_is_valid(tmp_path: Path, kind: str) -> None:
    """Also for Debian's Packer 1.6, which reads it without plugins.pkr.hcl."""
    playbook_variables = tmp_path / "playbook.json"
    playbook_variables.write_text("{}")
    key = tmp_path / "key"
    subprocess.run(["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-f", str(key)], check=True)
    variables = {
        "ansible_command": str(ansible_playbook()),
        "ansible_config": str(ROOT / "ansible/ansible.cfg"),
        "image": kind,
        "input_hash": "0" * 64,
        "manifest_file": str(tmp_path / "manifest.json"),
        "playbook": str(ROOT / f"ansible/playbooks/{kind}-image.yml"),
        "playbook_variables": str(playbook_variables),
        "release": "2026.11.1",
        "source_image_name": "base",
        "ssh_private_key_file": str(key),
    }
    file = tmp_path / "v.pkrvars.json"
    file.write_text(json.dumps(variables))
    template = ROOT / f"packer/{kind}.pkr.hcl"
    done = subprocess.run(
        ["packer", "validate", f"-var-file={file}", str(template)],
        capture_output=True,
        text=True,
        timeout=60,
        env={**os.environ, "CHECKPOINT_DISABLE": "1"},
        check=False,
    )
    assert done.stdout + done.stderr == ""
    assert done.returncode == 0
