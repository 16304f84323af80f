"""Whole turns for processes that must share a core."""

from __future__ import annotations

import os


def take_turns(processes: int) -> None:
    """Do not interrupt each other, if `processes` have fewer cores (SCHED_BATCH, sched(7)).

    Two event loops on one core evict each other's code and data from its caches at every change;
    so one that wakes up waits until the other has nothing to do or its time is over.
    With a core for each process nothing is asked: there it would only cost latency.
    """
    if len(os.sched_getaffinity(0)) < processes:
        os.sched_setscheduler(0, os.SCHED_BATCH, os.sched_param(0))
