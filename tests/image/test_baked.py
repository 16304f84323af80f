"""What is on every baked host, whether it serves or not."""

from __future__ import annotations

import json
from typing import Any

import pytest

HARDENING = {
    "NoNewPrivileges": "yes",
    "ProtectSystem": "strict",
    "PrivateTmp": "yes",
    "ProtectKernelTunables": "yes",
    "RestrictSUIDSGID": "yes",
    "CapabilityBoundingSet": "",
}
LEFTOVERS = (
    "/var/tmp/sglctl-bake", "~root/.cache", "~root/.aws", "~root/.bash_history", "~root/.ansible",
)  # fmt: skip


def manifest(host: Any) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(host.file("/etc/sglctl/manifest.json").content_string)
    return found


def check_unit(host: Any, unit: str, user: str) -> None:
    assert host.service(unit).is_enabled
    wanted = {**HARDENING, "User": user, "Restart": "on-failure"}
    names = ",".join(wanted)
    shown = host.check_output("systemctl show %s --property=%s", unit, names)
    assert dict(line.split("=", 1) for line in shown.splitlines()) == wanted


@pytest.mark.parametrize(
    ("unit", "user"), [("sglworker.service", "sglworker"), ("sglang-engine.service", "sglang")]
)
def test_a_workers_units_start_with_it_unprivileged_and_hardened(
    worker: Any, unit: str, user: str
) -> None:
    """As systemd understood them, not as they were written."""
    check_unit(worker, unit, user)


def test_the_routers_unit_starts_with_it_unprivileged_and_hardened(router: Any) -> None:
    """As systemd understood it."""
    check_unit(router, "sglrouter.service", "sglrouter")


def test_sigterm_reaches_the_engines_main_process_only(worker: Any) -> None:
    """A SIGTERM to the group would kill SGLang's scheduler in the middle of streams."""
    shown = worker.check_output("systemctl show sglang-engine.service --property=KillMode")
    assert shown == "KillMode=mixed"


def test_the_engines_control_waits_for_the_agents_word_from_boot_on(worker: Any) -> None:
    """Also for a word that was written before systemd looked, or while the last one is obeyed."""
    assert worker.service("sglang-engine-control.path").is_enabled
    shown = worker.check_output(
        "systemctl show sglang-engine-control.path --property=Paths,Unit,LoadState"
    )
    assert set(shown.splitlines()) == {
        "Paths=/run/sglworker/engine.wanted (PathExists)",
        "Unit=sglang-engine-control.service",
        "LoadState=loaded",
    }


def test_the_engines_control_gives_a_stop_all_the_time_it_may_take(worker: Any) -> None:
    """Killed before, it would leave the engine's stop without anybody who waits for it."""
    stop_us = worker.check_output(
        "systemctl show sglang-engine.service --property=TimeoutStopUSec --value"
    )
    control_us = worker.check_output(
        "systemctl show sglang-engine-control.service --property=TimeoutStartUSec --value"
    )
    assert (stop_us, control_us) == ("2min", "2min 30s")


@pytest.mark.parametrize("name", ["sglworker", "sglang"])
def test_nobody_can_log_in_as_a_workers_users(worker: Any, name: str) -> None:
    """System users without a shell."""
    user = worker.user(name)
    assert user.exists
    assert user.shell == "/usr/sbin/nologin"
    assert user.uid < 1000


def test_the_weights_are_in_the_image_as_the_manifest_says(worker: Any) -> None:
    """The manifest's bytes are those on the disk."""
    model = manifest(worker)["model"]
    sizes = worker.check_output(
        "find /opt/models/%s -name '*.safetensors' -printf '%%s '", model["name"]
    )
    assert sum(int(size) for size in sizes.split()) == model["bytes"] > 0


@pytest.mark.parametrize("user", ["sglworker", "sglang"])
def test_agent_and_engine_can_read_every_file_of_the_model(worker: Any, user: str) -> None:
    """Written by root at bake, read by others at boot."""
    folder = f"/opt/models/{manifest(worker)['model']['name']}"
    unreadable = worker.check_output(f"cd / && runuser -u {user} -- find {folder} ! -readable")
    assert unreadable == ""


def test_the_engine_is_the_version_the_manifest_says(worker: Any) -> None:
    """Asked from the installed package."""
    found = worker.check_output(
        "/opt/sglang/venv/bin/python -c "
        "'import importlib.metadata as m; print(m.version(\"sglang\"))'"
    )
    assert found == manifest(worker)["engine"]["version"]


def test_the_manifest_says_what_was_baked(host: Any) -> None:
    """Name, release, inputs, time, packages."""
    found = manifest(host)
    assert found["image"].startswith(("worker-", "router"))
    assert found["release"]
    assert len(found["input_hash"]) == 64
    assert found["baked_at"].endswith("Z")
    assert found["packages"]["/opt/sglctl/venv"]["pydantic"]


@pytest.mark.parametrize("path", ["/etc/sglctl", "/etc/sglctl/manifest.json", "/opt/sglctl/venv"])
def test_only_root_can_change_what_was_baked(host: Any, path: str) -> None:
    """A taken-over service must not be able to change what starts at the next boot."""
    file = host.file(path)
    assert file.user == "root"
    assert file.mode & 0o022 == 0


@pytest.mark.parametrize("path", LEFTOVERS)
def test_nothing_of_the_bake_is_left(host: Any, path: str) -> None:
    """The bake checks this too; here the image itself is looked at."""
    assert host.run(f"ls -d {path}").rc == 2, path  # unquoted: the shell knows ~root


def test_hosts_have_identities_of_their_own(host: Any) -> None:
    """Host key and machine id were made at this host's first boot."""
    boot = int(host.check_output("stat -c %Y /proc/1"))
    key = int(host.check_output("stat -c %Y /etc/ssh/ssh_host_ed25519_key"))
    assert key > boot - 300
    assert len(host.file("/etc/machine-id").content_string.strip()) == 32


def test_hosts_accept_keys_only_from_root(host: Any) -> None:
    """At most the key pair of its launch, never one of the bake."""
    keys = host.run("cat ~root/.ssh/authorized_keys /home/*/.ssh/authorized_keys 2>/dev/null")
    assert "sglctl-bake" not in keys.stdout


def test_the_journal_is_bounded(host: Any) -> None:
    """A log must not fill a worker's disk."""
    text = host.file("/etc/systemd/journald.conf.d/50-sglctl.conf").content_string
    assert "SystemMaxUse=" in text
    assert "MaxRetentionSec=" in text
