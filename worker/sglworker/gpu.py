"""Look at the GPUs where there are any: nvidia-smi and the kernel's Xid messages."""

from __future__ import annotations

import asyncio
import logging
import shutil

from sglworker.faults import gpu_fault, xid_fault

logger = logging.getLogger(__name__)

_TIMEOUT_S = 20.0
#: A little more than the pause between two looks; an Xid seen twice is the same fault.
_JOURNAL_SINCE = "-90s"


class Gpus:
    """`fault()` says what is wrong; on a host without nvidia-smi never anything."""

    def __init__(self) -> None:
        self._smi = shutil.which("nvidia-smi")
        self._journalctl = shutil.which("journalctl")
        self._was_well = False

    @property
    def present(self) -> bool:
        return self._smi is not None

    async def fault(self) -> str:
        """Empty when all is well. A tool that hangs or fails for itself proves nothing."""
        if self._smi is None:
            return ""
        code, output = await _run(self._smi, "-L")
        if fault := gpu_fault(code, output, self._was_well):
            return fault
        self._was_well = self._was_well or code == 0
        if self._journalctl is None:
            return ""
        words = ("-k", "-q", "-o", "cat", "--since", _JOURNAL_SINCE, "-g", "NVRM: Xid")
        _code, journal = await _run(self._journalctl, *words)
        return xid_fault(journal)


async def _run(*command: str) -> tuple[int, str]:
    """Exit code and output; -1 when it does not start, or not end in time."""
    try:
        process = await asyncio.create_subprocess_exec(
            *command, stdout=asyncio.subprocess.PIPE, stderr=asyncio.subprocess.STDOUT
        )
    except OSError as error:
        logger.warning("cannot run %s: %s", command[0], error)
        return -1, ""
    try:
        output, _ = await asyncio.wait_for(process.communicate(), _TIMEOUT_S)
    except TimeoutError:
        process.kill()  # one that waits for a dead GPU cannot be killed: do not wait for its end
        logger.warning("%s did not end within %g s", command[0], _TIMEOUT_S)
        return -1, ""
    return process.returncode or 0, output.decode(errors="replace")
