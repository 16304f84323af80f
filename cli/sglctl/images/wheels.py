"""Software for the bake host, made on this machine: our wheels, and wheelhouses of locked pins."""

from __future__ import annotations

import hashlib
import os
import re
import shutil
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sglctl.errors import ImageError
from sglctl.images.inputs import PACKAGES, Role

DOWNLOAD_DEADLINE_S = 1800.0
BUILD_DEADLINE_S = 300.0
ENGINE_PLATFORM = Path("ansible/roles/sglang_worker/files/engine-cpu")
#: Python and C library of the local base image, Debian 12: CPython 3.11 and glibc 2.36.
PYTHON_VERSION = "3.11"
_GLIBC_MINOR = 36
_ALL_PACKAGES = ("cli", "worker", "router", "local")
#: The router's table of its extension in C, to the next blank line.
_EXTENSION = re.compile(r"\[\[tool\.setuptools\.ext-modules\]\]\n(?:.+\n)*")
_FOREIGN_SCRIPT = re.compile(r'^(sglctl|sglocal)\s*=\s*"[\w.]+:\w+"$', re.MULTILINE)


def build_project_wheel(root: Path, role: Role, destination: Path) -> Path:
    """The wheel a host of `role` gets: only the packages it runs, only their programs.

    Built from a copy, so that nothing is left in the working tree. Raises ImageError.
    """
    with _scratch(destination) as folder:
        text = (root / "pyproject.toml").read_text()
        foreign = () if role == "router" else ("sglrouter",)
        for name in foreign:
            text = re.sub(rf'^{name}\s*=\s*"[\w.]+:\w+"$', "", text, flags=re.MULTILINE)
        if role != "router":
            text = _EXTENSION.sub("", text)
        (folder / "pyproject.toml").write_text(_FOREIGN_SCRIPT.sub("", text))
        for name in ("README.md", "LICENSE"):
            shutil.copy2(root / name, folder / name)
        for package in _ALL_PACKAGES:
            if package in PACKAGES[role]:
                _copy_sources(root / package, folder / package)
            else:
                (folder / package).mkdir()
        return _build(folder, destination)


def build_engine_platform_wheel(root: Path, destination: Path) -> Path:
    """The wheel of sglang-cpu-platform. Raises ImageError."""
    with _scratch(destination) as folder:
        _copy_sources(root / ENGINE_PLATFORM, folder / "source")
        return _build(folder / "source", destination)


def wheelhouse(requirements: Path, cache: Path) -> Path:
    """A tar archive of every wheel the file pins, kept in `cache` under the file's hash.

    Raises ImageError where a pin cannot be had: no network, or a hash that does not match.
    """
    digest = hashlib.sha256(requirements.read_bytes()).hexdigest()
    archive = cache / "wheelhouse" / f"{digest}.tar"
    if archive.exists():
        return archive
    archive.parent.mkdir(parents=True, exist_ok=True)
    with _scratch(archive.parent) as folder:
        wheels = folder / "wheels"
        _run(download_command(requirements, wheels), DOWNLOAD_DEADLINE_S, requirements.name)
        partial = folder / "wheels.tar"
        pack(wheels, partial)
        partial.replace(archive)
    return archive


def download_command(requirements: Path, destination: Path) -> list[str]:
    """`pip download` for the base image's Python, whatever Python runs this."""
    platforms = [f"manylinux_2_{minor}_x86_64" for minor in range(_GLIBC_MINOR, 4, -1)]
    platforms += ["manylinux2014_x86_64", "manylinux2010_x86_64", "manylinux1_x86_64"]
    return [
        sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check",
        "--no-input", "--no-deps", "--require-hashes", "--only-binary=:all:",
        "--implementation", "cp", "--python-version", PYTHON_VERSION,
        *(f"--platform={platform}" for platform in platforms),
        "--dest", str(destination), "--requirement", str(requirements),
    ]  # fmt: skip


def pack(folder: Path, archive: Path) -> None:
    """Files of `folder`, flat and uncompressed (wheels are compressed already)."""
    with tarfile.open(archive, "w") as tar:
        for path in sorted(folder.iterdir()):
            tar.add(path, arcname=path.name)


def _build(source: Path, destination: Path) -> Path:
    out = source / "dist"
    command = [
        sys.executable, "-m", "pip", "wheel", "--quiet", "--disable-pip-version-check",
        "--no-deps", "--no-build-isolation", "--no-cache-dir", "--no-index",
        "--wheel-dir", str(out), str(source),
    ]  # fmt: skip
    _run(command, BUILD_DEADLINE_S, f"the wheel of {source.name}")
    wheels = list(out.glob("*.whl"))
    if len(wheels) != 1:
        raise ImageError(f"building {source} made {len(wheels)} wheels, not one")
    target = destination / wheels[0].name
    shutil.copy2(wheels[0], target)
    return target


def _copy_sources(source: Path, destination: Path) -> None:
    ignored = shutil.ignore_patterns("__pycache__", "*.egg-info", "*.pyc", "build", "dist")
    shutil.copytree(source, destination, ignore=ignored)


def _run(command: Sequence[str], deadline_s: float, what: str) -> None:
    environment = {**os.environ, "PYTHONWARNINGS": ""}
    try:
        done = subprocess.run(
            command,
            capture_output=True,
            text=True,
            timeout=deadline_s,
            env=environment,
            check=False,
        )
    except subprocess.TimeoutExpired as error:
        raise ImageError(f"{what}: pip took longer than {deadline_s:.0f} s") from error
    if done.returncode != 0:
        raise ImageError(f"{what}: {pip_reason(done.stderr)}", hint=pip_hint(done.stderr))


def pip_reason(stderr: str) -> str:
    """pip's own error line, the last one it printed."""
    errors = [line for line in stderr.splitlines() if line.startswith("ERROR:")]
    lines = errors or stderr.strip().splitlines() or ["pip failed and said nothing"]
    return lines[-1].removeprefix("ERROR: ").strip()


def pip_hint(stderr: str) -> str | None:
    if "torch==" in stderr and "No matching distribution" in stderr:
        return (
            "the CPU build of torch is not on the default index: name PyTorch's index of CPU "
            "wheels in PIP_EXTRA_INDEX_URL (docs/how-to/images.md)"
        )
    if "DO NOT MATCH THE HASHES" in stderr:
        return "the index serves another file than the one locked in requirements/"
    if "Connection" in stderr or "Temporary failure" in stderr:
        return "check this machine's network, or its pip configuration (`pip config list`)"
    return None


@contextmanager
def _scratch(near: Path) -> Iterator[Path]:
    """A folder on the file system of `near`, removed afterwards."""
    near.mkdir(parents=True, exist_ok=True)
    folder = Path(tempfile.mkdtemp(prefix=".scratch-", dir=near))
    try:
        yield folder
    finally:
        shutil.rmtree(folder, ignore_errors=True)
