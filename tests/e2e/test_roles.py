"""Roles on real hosts: the second run of a whole image playbook changes nothing."""

from __future__ import annotations

import json
import os
import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from sglctl.config.loader import load
from sglctl.config.render.images import render_ansible, required_images
from sglctl.context import cache_home
from sglctl.images.bake_host import bake_host
from sglctl.images.inputs import role_of
from sglctl.images.materials import gather
from tests.e2e.harness import ROOT, Sglctl, await_ssh, emulator_client, emulator_endpoint

pytestmark = [
    pytest.mark.containers,
    pytest.mark.engine,
    pytest.mark.timeout(1800),
    pytest.mark.skipif(os.geteuid() != 0, reason="container hosts need root"),
]


@pytest.fixture(scope="module")
def emulator(checkout: Path, state: Path) -> Iterator[Sglctl]:
    """An emulator with the environment's images, no fleet."""
    sglctl = Sglctl(checkout, state, "local", {})
    try:
        sglctl.run("local", "up", "--hosts", "containers")
        sglctl.run("image", "build", timeout_s=1500)
        yield sglctl
    finally:
        sglctl.run("local", "down", expect=None, timeout_s=120)


@pytest.mark.parametrize("name", ["router", "worker-tiny"])
def test_the_second_run_of_an_image_playbook_changes_nothing(
    emulator: Sglctl, name: str, tmp_path: Path
) -> None:
    """On a host of the baked image, which the clean-up has changed: so the first run may."""
    desired = load(emulator.root / "config", "local")
    need = next(need for need in required_images(desired) if need.name == name)
    where = emulator_endpoint(emulator)
    ec2 = emulator_client(where, "ec2")
    # By its id: the cache holds other runs' images of the name too, some without a disk.
    image_id = emulator.json("image", "build")["images"][name]
    variables = {
        **render_ansible(desired, need),
        **gather(emulator.root, need, tmp_path, cache_home()).variables(),
        "image_manifest_input_hash": "0" * 16,
    }
    (tmp_path / "variables.json").write_text(json.dumps(variables))
    with bake_host(ec2, image_id, f"twice-{name}", tmp_path) as host:
        options = [
            "-o", f"ProxyCommand=nsenter --net=/run/netns/{where['hub']} nc %h %p",
            "-o", "StrictHostKeyChecking=no", "-o", "UserKnownHostsFile=/dev/null",
        ]  # fmt: skip
        await_ssh([*options, "-i", str(host.private_key), f"root@{host.address}"])
        command = [
            str(Path(sys.executable).with_name("ansible-playbook")),
            "-i", f"{host.address},", "-u", "root", "--private-key", str(host.private_key),
            "--ssh-common-args", shlex.join(options), "-e", f"@{tmp_path / 'variables.json'}",
            "--skip-tags", "image_cleanup",
            str(ROOT / "ansible" / "playbooks" / f"{role_of(need)}-image.yml"),
        ]  # fmt: skip
        env = {**os.environ, "ANSIBLE_CONFIG": str(ROOT / "ansible" / "ansible.cfg"),
               "ANSIBLE_HOME": str(tmp_path / "home"), "ANSIBLE_NOCOLOR": "1"}  # fmt: skip
        runs = [
            subprocess.run(command, env=env, capture_output=True, text=True, timeout=600)
            for _ in range(2)
        ]
    assert [run.returncode for run in runs] == [0, 0], runs[0].stdout[-3000:]
    changed = re.findall(r"^changed: .*", runs[1].stdout, re.MULTILINE)
    assert re.search(r"changed=0 .*failed=0", runs[1].stdout), "\n".join(changed)
