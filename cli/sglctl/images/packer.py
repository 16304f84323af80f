"""Run Packer: one process, its output streamed and kept, stopped on Ctrl-C or at a deadline."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from sglctl.errors import ImageError, PreconditionError

BAKE_DEADLINE_S = 2 * 3600.0
#: Packer terminates what it launched after SIGINT; this long at most.
INTERRUPT_GRACE_S = 60.0
_TASK = re.compile(r"TASK \[(?P<name>[^\]]+)\]")
_FATAL = re.compile(r"(fatal|failed): \[[^\]]*\].*?=> (?P<reason>.*)")
_MESSAGE = re.compile(r'"msg": "(?P<message>(?:[^"\\]|\\.)*)"')

Progress = Callable[[str], None]


@dataclass
class Transcript:
    """What was understood of Packer's output, line by line."""

    task: str = ""
    fatal: str = ""
    error: str = ""

    def take(self, line: str) -> str | None:
        """Read one line; return the name of a task that starts with it."""
        if found := _FATAL.search(line):
            self.fatal = self.fatal or _reason(found["reason"])
        elif "Error" in line or "error occurred" in line:
            self.error = self.error or line.strip()
        if found := _TASK.search(line):
            self.task = found["name"]
            return None if "Validating arguments" in self.task else self.task
        return None

    def failure(self) -> str:
        """One sentence: the task and why, or Packer's own error."""
        if self.fatal:
            return f"task '{self.task}' failed: {self.fatal}"
        return self.error or "Packer failed and said nothing"


def _reason(text: str) -> str:
    found = _MESSAGE.search(text)
    message = found["message"] if found else text
    return message.replace("\\n", " ").replace('\\"', '"')[:600]


def packer_command(
    template: Path, source: str, variables_file: Path, network_namespace: str | None
) -> list[str]:
    """`packer build` of one source; inside the hosts' network namespace where there is one."""
    enter = (
        [] if network_namespace is None else ["nsenter", f"--net=/run/netns/{network_namespace}"]
    )
    return [
        *enter, find_packer(), "build", "-color=false", "-on-error=cleanup", f"-only={source}",
        f"-var-file={variables_file}", str(template),
    ]  # fmt: skip


def find_packer() -> str:
    """Path of Packer. Raises PreconditionError with the install line."""
    if path := shutil.which("packer"):
        return path
    raise PreconditionError("Packer is not installed", hint="apt-get install packer")


def ansible_playbook() -> Path:
    """The ansible-playbook beside this Python: the version that is locked with it."""
    path = Path(sys.executable).parent / "ansible-playbook"
    if path.exists():
        return path
    raise PreconditionError(
        f"ansible-playbook is not in {path.parent}", hint="run `make setup` to install it"
    )


def run_packer(
    command: Sequence[str], environ: Mapping[str, str], log: Path, progress: Progress
) -> Transcript:
    """Run to the end, streaming task names. Raises ImageError; on Ctrl-C Packer cleans up first."""
    transcript = Transcript()
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("w") as file, _started(command, environ, log.parent) as process:
        timer = threading.Timer(BAKE_DEADLINE_S, process.send_signal, [signal.SIGINT])
        timer.daemon = True
        timer.start()
        try:
            assert process.stdout is not None
            for line in process.stdout:
                file.write(line)
                file.flush()
                if (task := transcript.take(line)) is not None:
                    progress(task)
            code = process.wait(timeout=INTERRUPT_GRACE_S)
        except BaseException:
            _interrupt(process)
            raise
        finally:
            timer.cancel()
    if code != 0:
        raise ImageError(transcript.failure(), hint=f"the whole output is in {log}")
    return transcript


def _started(
    command: Sequence[str], environ: Mapping[str, str], folder: Path
) -> subprocess.Popen[str]:
    environment = {
        **environ,
        "CHECKPOINT_DISABLE": "1",
        "PACKER_CACHE_DIR": str(folder / "packer-cache"),
        "PYTHONWARNINGS": "ignore",
    }
    return subprocess.Popen(
        command,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
        errors="replace",
        env=environment,
        start_new_session=True,  # Ctrl-C reaches Packer once, from here
    )


def _interrupt(process: subprocess.Popen[str]) -> None:
    """SIGINT lets Packer remove what it launched; then kill the whole session."""
    process.send_signal(signal.SIGINT)
    try:
        process.wait(timeout=INTERRUPT_GRACE_S)
    except subprocess.TimeoutExpired:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait(timeout=10)
