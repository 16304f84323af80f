"""Software for bake hosts: our wheels hold what a host runs, wheelhouses what is locked."""

from __future__ import annotations

import tarfile
import zipfile
from pathlib import Path

import pytest

from sglctl.errors import ImageError
from sglctl.images import wheels
from sglctl.images.inputs import Role

ROOT = Path(__file__).parents[3]


@pytest.mark.parametrize(
    ("role", "packages", "scripts"),
    [
        ("worker", {"sglworker"}, {"sglworker"}),
        ("router", {"sglworker", "sglrouter"}, {"sglworker", "sglrouter"}),
    ],
)
def test_a_host_gets_only_the_packages_and_programs_it_runs(
    tmp_path: Path, role: Role, packages: set[str], scripts: set[str]
) -> None:
    """No control CLI and no emulator on a worker."""
    wheel = wheels.build_project_wheel(ROOT, role, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        names = archive.namelist()
        [entry_points] = [name for name in names if name.endswith("entry_points.txt")]
        text = archive.read(entry_points).decode()
    folders = {name.split("/")[0] for name in names if ".dist-info/" not in name}
    assert folders == packages
    assert {line.split(" = ")[0] for line in text.splitlines() if " = " in line} == scripts


def test_building_leaves_nothing_in_the_working_tree(tmp_path: Path) -> None:
    """A stale build folder would put deleted modules into the next wheel."""
    before = {path.name for path in ROOT.iterdir()}
    wheels.build_project_wheel(ROOT, "worker", tmp_path)
    assert {path.name for path in ROOT.iterdir()} - before == set()
    assert [path.suffix for path in tmp_path.iterdir()] == [".whl"]


def test_the_engine_platform_installs_its_start_up_hook_and_its_entry_point(
    tmp_path: Path,
) -> None:
    """SGLang finds the platform by the entry point; every process runs the hook."""
    wheel = wheels.build_engine_platform_wheel(ROOT, tmp_path)
    with zipfile.ZipFile(wheel) as archive:
        hook = archive.read("sglang_cpu_platform.pth").decode()
        [name] = [n for n in archive.namelist() if n.endswith("entry_points.txt")]
        entry_points = archive.read(name).decode()
    assert hook == "import sglang_cpu_platform.startup\n"
    assert "[sglang.srt.platforms]" in entry_points
    assert "sglang_cpu_platform:activate" in entry_points


def test_wheels_are_chosen_for_the_base_image_not_for_this_machine() -> None:
    """The hosts' Python may be another than the one that runs sglctl."""
    command = wheels.download_command(Path("r.txt"), Path("out"))
    assert command[command.index("--python-version") + 1] == "3.11"
    assert "--platform=manylinux_2_28_x86_64" in command
    assert "--platform=manylinux_2_37_x86_64" not in command  # Debian 12 has glibc 2.36
    assert "--require-hashes" in command


def test_a_wheelhouse_is_filled_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """By the content of the requirements file."""
    runs = []

    def download(command: list[str], deadline_s: float, what: str) -> None:
        runs.append(what)
        folder = Path(command[command.index("--dest") + 1])
        folder.mkdir()
        (folder / "a-1-py3-none-any.whl").write_text("x")

    monkeypatch.setattr(wheels, "_run", download)
    requirements = tmp_path / "worker.txt"
    requirements.write_text("a==1\n")
    first = wheels.wheelhouse(requirements, tmp_path / "cache")
    assert wheels.wheelhouse(requirements, tmp_path / "cache") == first
    requirements.write_text("a==2\n")
    assert wheels.wheelhouse(requirements, tmp_path / "cache") != first
    assert len(runs) == 2
    with tarfile.open(first) as archive:
        # No entry for the folder itself: it would reset the mode of the host's.
        assert archive.getnames() == ["a-1-py3-none-any.whl"]


def test_an_interrupted_download_is_not_taken_for_a_wheelhouse(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The archive appears complete or not at all."""

    def fail(command: list[str], deadline_s: float, what: str) -> None:
        Path(command[command.index("--dest") + 1]).mkdir()
        raise ImageError("network gone")

    monkeypatch.setattr(wheels, "_run", fail)
    requirements = tmp_path / "worker.txt"
    requirements.write_text("a==1\n")
    with pytest.raises(ImageError):
        wheels.wheelhouse(requirements, tmp_path / "cache")
    assert list((tmp_path / "cache/wheelhouse").iterdir()) == []


@pytest.mark.parametrize(
    ("stderr", "reason", "hint"),
    [
        (
            "x\nERROR: Could not find a version\n"
            "ERROR: No matching distribution found for torch==2.13.0+cpu",
            "No matching distribution found for torch==2.13.0+cpu",
            "PIP_EXTRA_INDEX_URL",
        ),
        (
            "ERROR: THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "THESE PACKAGES DO NOT MATCH THE HASHES FROM THE REQUIREMENTS FILE.",
            "another file",
        ),
        ("ERROR: Connection refused", "Connection refused", "network"),
        ("", "pip failed and said nothing", None),
    ],
)
def test_pips_failures_say_what_to_do(stderr: str, reason: str, hint: str | None) -> None:
    """One line, and the way out."""
    assert wheels.pip_reason(stderr) == reason
    found = wheels.pip_hint(stderr)
    assert found is None if hint is None else found is not None and hint in found


def test_the_locked_engine_says_that_it_is_the_cpu_build() -> None:
    """Without +cpu another machine would silently get the build for CUDA."""
    text = (ROOT / "requirements/engine-cpu.txt").read_text()
    assert "\ntorch==2.13.0+cpu \\\n    --hash=sha256:" in text
    assert "\nsglang==0.5.23 \\" in text
    assert "\nnvidia-" not in text
    assert "://" not in text
