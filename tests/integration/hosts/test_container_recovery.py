"""Container hosts that fail to start, lose their emulator, share the machine, come all at once."""

from __future__ import annotations

import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import pytest
from container_world import FIRST, MARKS, leftovers

from sglocal.hosts.base import base_name
from sglocal.hosts.cgroups import Group, hierarchies
from sglocal.hosts.containers import ContainerDriver
from sglocal.hosts.driver import HostError
from sglocal.hosts.factory import make_driver
from sglocal.hosts.names import hub_name
from sglocal.hosts.sweep import sweep

pytestmark = MARKS

_IMPORT = "from pathlib import Path; from sglocal.hosts.sweep import sweep"


def test_a_failed_launch_leaves_nothing_and_says_why(
    driver: ContainerDriver, tmp_path: Path
) -> None:
    with pytest.raises(HostError, match=r"no network holds 192\.168\.0\.9"):
        driver.launch(replace(FIRST, address="192.168.0.9"))
    broken = tmp_path / "broken"
    (broken / "layers/00/sbin").mkdir(parents=True)  # covers the base's link to /usr/sbin: no init
    (broken / "image.json").write_text(f'{{"version": 1, "base": "{base_name()}"}}')
    (broken / "layers/00/usr").touch()
    with pytest.raises(HostError, match="ended while booting"):
        driver.launch(replace(FIRST, image_root=broken))
    assert list(driver.hosts()) == []
    driver.launch(FIRST)


def test_a_sweep_in_a_new_process_removes_what_a_killed_emulator_left(
    tmp_path: Path, cache_dir: Path
) -> None:
    program = f"""
import time
from pathlib import Path
from sglocal.hosts.driver import HostSpec
from sglocal.hosts.factory import make_driver
state, cache = Path({str(tmp_path)!r}), Path({str(cache_dir)!r})
driver = make_driver("containers", state_dir=state, cache_dir=cache)
driver.prepare("10.40.0.0/16")
for number in (11, 12):
    driver.launch(HostSpec(f"i-{{number}}", f"10.40.0.{{number}}", 16, {{}}))
print("up", flush=True)
driver.run("i-11", "sleep 600", timeout_s=600)
"""
    emulator = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True)
    with emulator:
        assert emulator.stdout is not None
        assert emulator.stdout.readline() == "up\n"
        emulator.kill()
    assert len(leftovers(tmp_path)) > 8

    began = time.monotonic()
    subprocess.run([sys.executable, "-c", f"{_IMPORT}; sweep(Path({str(tmp_path)!r}))"], check=True)
    assert time.monotonic() - began < 5
    assert leftovers(tmp_path) == []
    assert not (tmp_path / "hosts").exists()


def test_a_sweep_copes_with_a_host_whose_init_was_killed(
    driver: ContainerDriver, tmp_path: Path
) -> None:
    driver.launch(FIRST)
    loop = driver._hosts[FIRST.instance_id].loop
    assert loop is not None
    loop.kill()
    sweep(tmp_path)
    assert leftovers(tmp_path) == []


def test_two_emulators_on_one_machine_use_the_same_addresses(
    tmp_path: Path, cache_dir: Path
) -> None:
    drivers = [
        make_driver("containers", state_dir=tmp_path / name, cache_dir=cache_dir) for name in "ab"
    ]
    try:
        for driver in drivers:
            driver.prepare("10.40.0.0/16")
            driver.launch(FIRST)
        drivers[0].close()
        assert drivers[1].run(FIRST.instance_id, "true", timeout_s=10).returncode == 0
    finally:
        for driver in drivers:
            driver.close()
    assert [leftovers(tmp_path / name) for name in "ab"] == [[], []]


def test_hosts_launch_and_terminate_from_many_threads(driver: ContainerDriver) -> None:
    specs = [
        replace(FIRST, instance_id=f"i-{number:017x}", address=f"10.40.1.{number}")
        for number in range(1, 7)
    ]
    with ThreadPoolExecutor(6) as pool:
        list(pool.map(driver.launch, specs))
        assert len(driver.hosts()) == 6
        twice = [one.instance_id for one in specs] * 2
        list(pool.map(driver.terminate, twice))
    assert list(driver.hosts()) == []


def test_hosts_run_where_cgroup_v2_is_mounted_alone(tmp_path: Path, cache_dir: Path) -> None:
    """A mount namespace stands in for such a machine (its controllers stay with v1)."""
    program = f"""
from pathlib import Path
from sglocal.hosts.cgroups import hierarchies
from sglocal.hosts.driver import HostSpec
from sglocal.hosts.factory import make_driver
assert not hierarchies().hybrid
state, cache = Path({str(tmp_path)!r}), Path({str(cache_dir)!r})
driver = make_driver("containers", state_dir=state, cache_dir=cache)
try:
    driver.prepare("10.40.0.0/16")
    driver.launch(HostSpec("i-1", "10.40.0.11", 16, {{}}))
    print(driver.run("i-1", "timeout 15 systemctl is-system-running --wait", timeout_s=20).stdout)
    driver.stop("i-1")
    driver.start("i-1")
    driver.terminate("i-1")
finally:
    driver.close()
"""
    alone = "umount -R /sys/fs/cgroup && mount -t cgroup2 none /sys/fs/cgroup"
    shell = ["unshare", "--mount", "--propagation", "private", "sh", "-ec"]
    command = [*shell, f'{alone} && exec "$@"', "sh", sys.executable, "-c", program]
    assert subprocess.check_output(command, text=True) == "running\n\n"
    assert leftovers(tmp_path) == []


def test_a_group_is_killed_member_by_member_where_the_kernel_has_no_switch(
    driver: ContainerDriver, tmp_path: Path
) -> None:
    group = Group(hierarchies(), f"{hub_name(tmp_path)}/i-members")
    group.make()
    inside, outside = (subprocess.Popen(["sleep", "600"]) for _ in range(2))
    try:
        (group.unified / "cgroup.procs").write_text(str(inside.pid))
        for process in (inside, outside):
            group.kill_member(process.pid)
        assert inside.wait(5) == -9
        assert outside.poll() is None  # no member: its number might be anybody's
    finally:
        for process in (inside, outside):
            process.kill()
            process.wait()
        group.remove()
