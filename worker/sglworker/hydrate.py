"""Read every weight file once.

A volume made from a snapshot fetches a block when it is first read: reading all of it before the
engine starts turns thousands of single fetches into a parallel stream, and keeps a warm instance's
volume hot.
https://docs.aws.amazon.com/ebs/latest/userguide/initalize-volume.html
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sglworker.errors import BootError

_CHUNK_BYTES = 8 * 1024 * 1024
_READERS = 8


def weight_files(path: Path) -> list[Path]:
    """Every file below `path`, links followed, each once. Raises BootError."""
    if not path.exists():
        raise BootError(f"no model at {path}: bake the image again, or correct model.path")
    if path.is_file():
        return [path.resolve()]
    found = {file.resolve() for file in path.rglob("*") if file.is_file()}
    return sorted(found)


async def hydrate(path: Path, progress: Callable[[int], None]) -> int:
    """Read all files; bytes read. `progress` hears the bytes of each read, from any thread.

    Raises BootError when a file cannot be read. Cancelling stops the readers.
    """
    files = await asyncio.to_thread(weight_files, path)
    stop = threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="hydrate") as pool:
        try:
            jobs = [loop.run_in_executor(pool, _read, file, stop, progress) for file in files]
            return sum(await asyncio.gather(*jobs))
        finally:
            stop.set()  # else the pool's end would wait for whole files
            pool.shutdown(wait=False, cancel_futures=True)


def _read(file: Path, stop: threading.Event, progress: Callable[[int], None]) -> int:
    total, buffer = 0, bytearray(_CHUNK_BYTES)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while not stop.is_set() and (count := os.readv(descriptor, [buffer])):
                total += count
                progress(count)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BootError(f"cannot read {file}: {error.strerror}") from error
    return total
