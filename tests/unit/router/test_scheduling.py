"""Processes that share a core do not interrupt each other."""

from __future__ import annotations

import os
import subprocess
import sys

import pytest

PROGRAM = """
import os, sys
from sglrouter.scheduling import take_turns
os.sched_setaffinity(0, {min(os.sched_getaffinity(0))})
take_turns(int(sys.argv[1]))
print(os.sched_getscheduler(0) == os.SCHED_BATCH)
"""


@pytest.mark.parametrize("processes", [1, 2])
def test_turns_are_whole_where_there_are_fewer_cores_than_processes(processes):
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, str(processes)], env={"PYTHONPATH": ":".join(sys.path)},
        capture_output=True, text=True, timeout=60, check=True,
    )  # fmt: skip
    assert done.stdout == f"{processes > 1}\n"
    assert os.sched_getscheduler(0) == os.SCHED_OTHER
