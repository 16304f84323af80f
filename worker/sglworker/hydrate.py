"""Read every weight file once, unless this volume has been read before.

A volume made from a snapshot fetches a block when it is first read: reading all of it before the
engine starts turns thousands of single fetches into a parallel stream. A volume stays hot over
stop and start; files that were copied anew (instance store is wiped by a stop) have new inodes and
times, and are read again.
https://docs.aws.amazon.com/ebs/latest/userguide/initalize-volume.html
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path

from sglworker.errors import BootError

_CHUNK_BYTES = 1024 * 1024
#: Few large files must keep all readers busy, too.
_RANGE_BYTES = 64 * 1024 * 1024
_READERS = 16


@dataclass(frozen=True)
class Weights:
    """All weight files below one path, and what tells them from other ones."""

    files: tuple[tuple[Path, int], ...]  # with sizes in bytes
    key: str

    @property
    def total_bytes(self) -> int:
        return sum(size for _, size in self.files)


def find_weights(path: Path, instance_id: str) -> Weights:
    """Every file below `path`, links followed, each once. Raises BootError."""
    if not path.exists():
        raise BootError(f"no model at {path}: bake the image again, or correct model.path")
    found = {path.resolve()} if path.is_file() else {
        file.resolve() for file in path.rglob("*") if file.is_file()
    }  # fmt: skip
    digest, files = hashlib.sha256(f"{instance_id} {_volume(path)}".encode()), []
    try:
        for file in sorted(found):
            told = file.stat()
            files.append((file, told.st_size))
            digest.update(f"{file} {told.st_size} {told.st_mtime_ns} {told.st_ino}\n".encode())
    except OSError as error:
        raise BootError(f"cannot read {error.filename}: {error.strerror}") from error
    return Weights(tuple(files), digest.hexdigest())


def _volume(path: Path) -> str:
    """The serial number of the disk below `path` (of EBS: the volume id); empty if not known."""
    device = path.stat().st_dev
    disk = Path(f"/sys/dev/block/{os.major(device)}:{os.minor(device)}").resolve()
    for folder in (disk, disk.parent):  # a partition's disk is its parent
        try:
            return (folder / "device" / "serial").read_text().strip()
        except OSError:
            continue
    return ""


async def hydrate(weights: Weights, progress: Callable[[int], None]) -> int:
    """Read all files; bytes read. `progress` hears the bytes of each read, from any thread.

    Raises BootError when a file cannot be read. Cancelling stops the readers.
    """
    stop = threading.Event()
    loop = asyncio.get_running_loop()
    with ThreadPoolExecutor(_READERS, thread_name_prefix="hydrate") as pool:
        try:
            jobs = [
                loop.run_in_executor(pool, _read, file, start, stop, progress)
                for file, start in _ranges(weights)
            ]
            return sum(await asyncio.gather(*jobs))
        finally:
            stop.set()  # else the pool's end would wait for whole ranges
            pool.shutdown(wait=False, cancel_futures=True)


def _ranges(weights: Weights) -> Iterator[tuple[Path, int]]:
    for file, size in weights.files:
        for start in range(0, size, _RANGE_BYTES):
            yield file, start


def _read(file: Path, start: int, stop: threading.Event, progress: Callable[[int], None]) -> int:
    total, buffer = 0, bytearray(_CHUNK_BYTES)
    try:
        descriptor = os.open(file, os.O_RDONLY | os.O_CLOEXEC)
        try:
            while total < _RANGE_BYTES and not stop.is_set():
                count = os.preadv(descriptor, [buffer], start + total)
                if not count:
                    break
                total += count
                progress(count)
        finally:
            os.close(descriptor)
    except OSError as error:
        raise BootError(f"cannot read {file}: {error.strerror}") from error
    return total
