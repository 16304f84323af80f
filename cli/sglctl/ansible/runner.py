"""One class around ansible-runner: streamed events, cancel, errors that name host and task."""

from __future__ import annotations

import signal
import sys
import threading
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from types import FrameType
from typing import Any

from sglctl.errors import AnsibleError


@dataclass(frozen=True)
class TaskEvent:
    """One task's end on one host."""

    host: str
    task: str
    status: str
    changed: bool
    seconds: float
    message: str = ""


@dataclass(frozen=True)
class PlayResult:
    """Counts by host, as Ansible's recap has them."""

    changed: Mapping[str, int]
    ok: Mapping[str, int]


_ENDS = {
    "runner_on_ok": "ok",
    "runner_on_failed": "failed",
    "runner_on_unreachable": "unreachable",
    "runner_on_skipped": "skipped",
}


class AnsibleRunner:
    """Runs playbooks of `ansible/` with private data in a state folder."""

    def __init__(self, project: Path, state_dir: Path, environ: Mapping[str, str]) -> None:
        self._project = project
        self._private = state_dir / "ansible"
        self._environ = dict(environ)

    def run(
        self,
        playbook: str,
        inventory: Mapping[str, Any],
        *,
        extra_vars: Mapping[str, Any] | None = None,
        on_task: Callable[[TaskEvent], None] | None = None,
        check: bool = False,
        timeout_s: int = 3600,
    ) -> PlayResult:
        """Run a playbook to its end.

        Raises AnsibleError naming the first host and task that failed or was unreachable, and
        KeyboardInterrupt after a Ctrl-C (once Ansible has stopped).
        """
        import ansible_runner

        self._private.mkdir(parents=True, exist_ok=True)
        failures: list[TaskEvent] = []

        def handle(event: Mapping[str, Any]) -> bool:
            task = parse_event(event)
            if task is not None:
                if task.status in ("failed", "unreachable"):
                    failures.append(task)
                if on_task is not None:
                    on_task(task)
            return False  # events stay out of the artifacts: they may hold documents

        with _interrupt() as interrupted:
            result = ansible_runner.run(
                private_data_dir=str(self._private),
                project_dir=str(self._project),
                playbook=f"playbooks/{playbook}",
                inventory=dict(inventory),
                extravars=dict(extra_vars or {}),
                envvars={
                    **self._environ,
                    "PATH": f"{Path(sys.executable).parent}:{self._environ.get('PATH', '')}",
                    "ANSIBLE_CONFIG": str(self._project / "ansible.cfg"),
                    "ANSIBLE_HOME": str(self._private / "home"),
                },
                cmdline="--check --diff" if check else None,
                event_handler=handle,
                cancel_callback=interrupted.is_set,
                quiet=True,
                # Env files would outlive the run, hold credentials, and overrule the next run.
                suppress_env_files=True,
                timeout=timeout_s,
                rotate_artifacts=5,
            )
        if interrupted.is_set():
            raise KeyboardInterrupt
        if result.rc != 0:
            raise self._error(playbook, result, failures)
        stats = result.stats or {}
        return PlayResult(stats.get("changed", {}), stats.get("ok", {}))

    def _error(self, playbook: str, result: Any, failures: list[TaskEvent]) -> AnsibleError:
        log = self._private / "artifacts" / str(result.config.ident) / "stdout"
        if not failures:
            return AnsibleError(
                f"{playbook} ended with {result.status} (exit {result.rc})", hint=f"see {log}"
            )
        first = failures[0]
        what = "was unreachable" if first.status == "unreachable" else f"failed at '{first.task}'"
        return AnsibleError(f"{first.host} {what}: {first.message}", hint=f"see {log}")


def parse_event(event: Mapping[str, Any]) -> TaskEvent | None:
    """A task's end, or None for any other event. A failure Ansible ignores is no failure."""
    status = _ENDS.get(str(event.get("event")))
    if status is None:
        return None
    data = event.get("event_data") or {}
    result = data.get("res") or {}
    if status == "failed" and data.get("ignore_errors"):
        status = "ok"
    message = result.get("msg") or result.get("stderr") or ""
    return TaskEvent(
        host=str(data.get("host", "")),
        task=str(data.get("task", "")),
        status=status,
        changed=bool(result.get("changed", False)),
        seconds=float(data.get("duration") or 0.0),
        message=str(message).strip()[:400],
    )


@contextmanager
def _interrupt() -> Iterator[threading.Event]:
    """Ctrl-C sets an event instead of raising, so that Ansible ends before we do."""
    event = threading.Event()
    if threading.current_thread() is not threading.main_thread():
        yield event
        return

    def handler(signum: int, frame: FrameType | None) -> None:
        event.set()

    previous = signal.signal(signal.SIGINT, handler)
    try:
        yield event
    finally:
        signal.signal(signal.SIGINT, previous)
