"""Consoles of ended hosts."""

from __future__ import annotations

import os
from pathlib import Path

from sglocal.hosts.kept_logs import KEPT, ended_hosts, keep_log, kept_log


def _console(folder: Path, text: str) -> Path:
    path = folder / "console.log"
    path.write_text(text)
    return path


def test_a_console_outlives_its_host(tmp_path: Path) -> None:
    console = _console(tmp_path, "the worker failed: no weights\n")
    keep_log(tmp_path, "i-1", console)
    assert kept_log(tmp_path, "i-1").read_text() == "the worker failed: no weights\n"
    assert ended_hosts(tmp_path) == ["i-1"]
    assert not console.exists()


def test_only_the_newest_are_kept(tmp_path: Path) -> None:
    for number in range(KEPT + 3):
        keep_log(tmp_path, f"i-{number:02}", _console(tmp_path, str(number)))
        os.utime(kept_log(tmp_path, f"i-{number:02}"), (number, number))
    keep_log(tmp_path, "i-last", _console(tmp_path, "last"))
    expected = ["i-last", *(f"i-{n:02}" for n in range(KEPT + 2, 3, -1))]
    assert ended_hosts(tmp_path) == expected


def test_a_host_without_a_console_leaves_nothing(tmp_path: Path) -> None:
    keep_log(tmp_path, "i-1", tmp_path / "console.log")
    assert ended_hosts(tmp_path) == []


def test_a_disk_that_refuses_does_not_keep_the_host(tmp_path: Path) -> None:
    (tmp_path / "logs").write_text("a file where the folder should be")
    keep_log(tmp_path, "i-1", _console(tmp_path, "x"))
    assert (tmp_path / "logs").read_text() == "a file where the folder should be"
