"""Container hosts, for real: systemd-nspawn, overlay disks, a network namespace of their own.

One module-wide pair of hosts serves the tests that only look; the others make their own.
"""

from __future__ import annotations

import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pytest
from container_world import FIRST, MARKS, SECOND, root_links, run, wait_for

from sglocal.hosts.containers import ContainerDriver
from sglocal.hosts.driver import HostError
from sglocal.hosts.names import veth_name

pytestmark = MARKS


def test_two_hosts_boot_within_three_seconds(driver: ContainerDriver) -> None:
    began = time.monotonic()
    driver.launch(FIRST)
    driver.launch(SECOND)
    assert time.monotonic() - began < 3
    assert [driver.status(one) for one in driver.hosts()] == ["running", "running"]


def test_a_host_settles_with_no_failed_unit(pair: ContainerDriver) -> None:
    assert run(pair, "timeout 15 systemctl is-system-running --wait") == "running"


def test_a_host_knows_its_name_and_nothing_of_the_image(pair: ContainerDriver) -> None:
    assert run(pair, "hostname; cat /etc/sglctl/aws.env") == (
        "ip-10-40-0-11\nAWS_ENDPOINT_URL=http://169.254.169.253:5566\nAWS_REGION=us-east-1"
    )
    assert run(pair, "cat /etc/machine-id") != run(pair, "cat /etc/machine-id", SECOND)
    assert run(pair, "cat /etc/ssh/*.pub") != run(pair, "cat /etc/ssh/*.pub", SECOND)


def test_ssh_by_key_works_through_the_hub_and_by_password_does_not(
    pair: ContainerDriver, key: Path
) -> None:
    state_dir = pair.log_path(FIRST.instance_id).parents[2]
    proxy = f"{sys.executable} -m sglocal.hosts.hub --state-dir {state_dir} -- nc %h %p"
    options = ["ProxyCommand=" + proxy, "StrictHostKeyChecking=no", "UserKnownHostsFile=/dev/null"]
    command = ["ssh", "-i", str(key), *(word for one in options for word in ("-o", one))]
    command += ["-o", "LogLevel=ERROR", "-o", "ConnectTimeout=10", f"root@{FIRST.address}"]
    assert subprocess.check_output([*command, "id -un"], text=True) == "root\n"
    config = run(pair, "sshd -T")
    assert "passwordauthentication no" in config
    assert "permitrootlogin without-password" in config


def test_nsenter_reaches_the_hub_by_its_name(pair: ContainerDriver) -> None:
    enter = ["nsenter", f"--net=/run/netns/{pair.haproxy_namespace}", "nc", "-zw5"]
    subprocess.run([*enter, FIRST.address, "22"], check=True)


def test_hosts_reach_each_other_and_the_emulator_and_nothing_else(pair: ContainerDriver) -> None:
    with pair.listen("169.254.169.254", 80), pair.listen("169.254.169.253", 5566):
        for target in ("10.40.0.12/22", "169.254.169.254/80", "169.254.169.253/5566"):
            run(pair, f"timeout 5 bash -c 'exec 3<>/dev/tcp/{target}'")
    outside = "timeout 2 bash -c 'exec 3<>/dev/tcp/192.0.2.1/80'"
    assert pair.run(FIRST.instance_id, outside, timeout_s=10).returncode != 0
    shown = subprocess.check_output(
        ["ip", "-n", str(pair.haproxy_namespace), "-o", "link"], text=True
    )
    links = {line.split(": ")[1].partition("@")[0] for line in shown.splitlines()}
    assert links == {"lo", "br0", *(veth_name(one.instance_id) for one in (FIRST, SECOND))}


def test_the_machines_own_network_is_untouched(pair: ContainerDriver) -> None:
    links = root_links()
    assert "10.40." not in links
    assert "169.254.169.25" not in links


def test_a_health_check_sees_a_status_or_none(pair: ContainerDriver) -> None:
    server = "cd /etc && nohup python3 -m http.server 8080 >/dev/null 2>&1 &"
    run(pair, server)
    address = FIRST.address
    wait_for(lambda: pair.http_status(address, 8080, "/hostname", timeout_s=1) is not None)
    answers = [
        pair.http_status(address, port, path, timeout_s=1)
        for port, path in ((8080, "/hostname"), (8080, "/none"), (8081, "/"), (22, "/"))
    ]
    assert answers == [200, 404, None, None]


def test_a_script_that_overruns_is_killed_with_its_children(pair: ContainerDriver) -> None:
    result = pair.run(FIRST.instance_id, "echo a; sleep 9876 & sleep 9876", timeout_s=0.5)
    assert (result.returncode, result.stdout) == (124, "a\n")
    assert run(pair, "pgrep -fc '^sleep 9876' || true") == "0"


def test_a_script_has_the_hosts_environment_and_its_own_status(pair: ContainerDriver) -> None:
    result = pair.run(FIRST.instance_id, 'echo "$AWS_REGION"; echo no >&2; exit 3', timeout_s=10)
    assert (result.returncode, result.stdout, result.stderr) == (3, "us-east-1\n", "no\n")


def test_an_idle_host_uses_little_processor_time(pair: ContainerDriver) -> None:
    run(pair, "timeout 15 systemctl is-system-running --wait")
    group = pair._hosts[SECOND.instance_id].machine.group

    def microseconds() -> int:
        text = (group.unified / "cpu.stat").read_text()
        return int(text.splitlines()[0].split()[1])

    before = microseconds()
    time.sleep(1)  # the measurement itself
    assert microseconds() - before < 20_000


def test_a_stopped_host_keeps_its_disk_and_comes_back(driver: ContainerDriver) -> None:
    driver.launch(FIRST)
    run(driver, "echo kept > /srv/file; touch /run/gone")
    driver.stop(FIRST.instance_id)
    assert driver.status(FIRST.instance_id) == "stopped"
    with pytest.raises(HostError, match="not running"):
        driver.run(FIRST.instance_id, "true", timeout_s=5)
    driver.start(FIRST.instance_id)
    assert run(driver, "cat /srv/file; ls /run/gone 2>/dev/null || echo gone") == "kept\ngone"


def test_a_guest_that_reboots_keeps_running_and_one_that_powers_off_is_stopped(
    driver: ContainerDriver,
) -> None:
    driver.launch(FIRST)
    machine = driver._hosts[FIRST.instance_id].machine
    first = machine.leader()
    driver.run(FIRST.instance_id, "systemctl reboot", timeout_s=10)
    wait_for(lambda: machine.leader() not in (None, first) and machine.is_up())
    assert driver.status(FIRST.instance_id) == "running"
    driver.run(FIRST.instance_id, "systemctl poweroff", timeout_s=10)
    wait_for(lambda: driver.status(FIRST.instance_id) == "stopped")
    driver.start(FIRST.instance_id)
    assert driver.status(FIRST.instance_id) == "running"


def test_an_image_of_an_image_boots_with_what_both_wrote_and_deleted(
    driver: ContainerDriver, tmp_path: Path
) -> None:
    driver.launch(FIRST)
    run(driver, "echo one > /opt/one; rm /etc/ssh/moduli")
    driver.stop(FIRST.instance_id)
    driver.snapshot(FIRST.instance_id, tmp_path / "ami-1/root")

    driver.launch(replace(SECOND, image_root=tmp_path / "ami-1/root"))
    assert run(driver, "cat /opt/one; ls /etc/ssh/moduli 2>/dev/null || echo deleted", SECOND) == (
        "one\ndeleted"
    )
    run(driver, "echo two > /opt/two; echo changed > /opt/one", SECOND)
    driver.stop(SECOND.instance_id)
    driver.snapshot(SECOND.instance_id, tmp_path / "ami-2/root")
    subprocess.run(["rm", "-r", str(tmp_path / "ami-1")], check=True)  # deregistered

    third = replace(
        FIRST,
        instance_id="i-0000000000000000c",
        address="10.40.0.13",
        image_root=tmp_path / "ami-2/root",
    )
    driver.launch(third)
    script = "cat /opt/one /opt/two; ls /etc/ssh/moduli 2>/dev/null || echo deleted"
    assert run(driver, script, third) == "changed\ntwo\ndeleted"


def test_a_running_hosts_disk_is_not_kept(driver: ContainerDriver, tmp_path: Path) -> None:
    driver.launch(FIRST)
    with pytest.raises(HostError, match="stop it before"):
        driver.snapshot(FIRST.instance_id, tmp_path / "root")


def test_a_host_cannot_use_more_memory_than_its_limit(driver: ContainerDriver) -> None:
    driver.launch(replace(FIRST, memory_bytes=128 << 20))
    hog = "python3 -c 'b = bytearray(512 << 20); b[::4096] = b\"x\" * (len(b) // 4096)'"
    assert driver.run(FIRST.instance_id, hog, timeout_s=30).returncode == 137


def test_a_terminated_host_is_gone_within_a_second_and_its_address_is_free(
    driver: ContainerDriver,
) -> None:
    driver.launch(FIRST)
    began = time.monotonic()
    driver.terminate(FIRST.instance_id)
    assert time.monotonic() - began < 1
    assert driver.status(FIRST.instance_id) == "gone"
    driver.launch(replace(SECOND, address=FIRST.address))
    driver.terminate(FIRST.instance_id)  # no error when it is gone


def test_the_log_shows_what_the_hosts_services_print(pair: ContainerDriver) -> None:
    run(pair, "echo a line of a service | systemd-cat -t some-service")
    log = pair.log_path(FIRST.instance_id)
    wait_for(lambda: "some-service" in log.read_text() and "a line of a service" in log.read_text())
