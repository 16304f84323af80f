"""Work that takes time, off the API's threads: jobs in order per host, and periodic loops."""

from __future__ import annotations

import logging
import threading
from collections import defaultdict, deque
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Protocol

log = logging.getLogger(__name__)

Job = Callable[[], None]


class Jobs(Protocol):
    """Work of hosts, in order for each."""

    def submit(self, key: str, job: Job) -> None:
        """Queue a job of a host."""

    def close(self, timeout_s: float) -> bool:
        """Drop what is queued, wait for what runs; False if some still ran at the deadline."""


class SteppedJobs:
    """Jobs that wait until `run` does them in this thread: for a virtual clock."""

    def __init__(self) -> None:
        self._queue: deque[Job] = deque()

    def submit(self, key: str, job: Job) -> None:
        self._queue.append(job)

    def run(self) -> None:
        """Do what was queued before now; what these jobs queue waits for the next time."""
        for _ in range(len(self._queue)):
            self._queue.popleft()()

    def close(self, timeout_s: float) -> bool:
        self._queue.clear()
        return True


class HostJobs:
    """Runs jobs of different hosts at once and jobs of one host in the order they were given.

    A launch followed by a terminate of the same instance can therefore never overtake it.
    """

    def __init__(self, workers: int = 8) -> None:
        self._pool = ThreadPoolExecutor(max_workers=workers, thread_name_prefix="host-job")
        self._queues: dict[str, deque[Job]] = defaultdict(deque)
        self._idle = threading.Condition()
        self._closed = False

    def submit(self, key: str, job: Job) -> None:
        """Queue a job; ignored once closed (the driver's close() removes every host then)."""
        with self._idle:
            if self._closed:
                return
            queue = self._queues[key]
            queue.append(job)
            if len(queue) == 1:
                self._pool.submit(self._drain, key)

    def _drain(self, key: str) -> None:
        while True:
            with self._idle:
                job = self._queues[key][0]
            try:
                job()
            except Exception:
                log.exception("a job of %s failed", key)
            with self._idle:
                self._queues[key].popleft()
                if not self._queues[key] or self._closed:
                    del self._queues[key]
                    self._idle.notify_all()
                    return

    def wait_idle(self, timeout_s: float) -> bool:
        """True once no job is queued or running, False at the deadline."""
        with self._idle:
            return self._idle.wait_for(lambda: not self._queues, timeout_s)

    def close(self, timeout_s: float) -> bool:
        """Drop queued jobs, wait for the running ones; False if some still ran at the deadline."""
        with self._idle:
            self._closed = True
        done = self.wait_idle(timeout_s)
        self._pool.shutdown(wait=done, cancel_futures=True)
        return done


class Loop:
    """Calls a function every `interval_s`, at once when woken, until stopped."""

    def __init__(self, name: str, interval_s: float, step: Job) -> None:
        self.step = step
        self._interval_s = interval_s
        self._wake = threading.Event()
        self._stopped = False
        self._thread = threading.Thread(target=self._run, name=name, daemon=True)

    def start(self) -> None:
        """Begin stepping."""
        self._thread.start()

    def wake(self) -> None:
        """Step now instead of at the next interval."""
        self._wake.set()

    def stop(self, timeout_s: float) -> None:
        """Ask the loop to end and wait for the step in progress."""
        self._stopped = True
        self._wake.set()
        if self._thread.is_alive() and self._thread is not threading.current_thread():
            self._thread.join(timeout_s)

    def _run(self) -> None:
        while not self._stopped:
            self._wake.clear()
            try:
                self.step()
            except Exception:
                log.exception("a step of %s failed; trying again", self._thread.name)
            self._wake.wait(self._interval_s)
