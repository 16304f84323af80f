"""The input hash: what changes an image, and what does not."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest
import yaml

from sglctl.config.render.images import ImageNeed
from sglctl.images.inputs import ROLES, input_files, input_hash

ROOT = Path(__file__).parents[3]
WORKER = ImageNeed("worker-tiny", "local", "tiny", "cpu", "m7i.large", None)
ROUTER = ImageNeed("router", "local", None, None, "c7i.large", None)
BASE = "ami-1"


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """The parts of the repository that images are made of."""
    for name in ("ansible", "packer", "requirements", "worker", "router", "cli/sglctl/core"):
        ignored = shutil.ignore_patterns("__pycache__", "*.egg-info")
        shutil.copytree(ROOT / name, tmp_path / name, ignore=ignored)
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    return tmp_path


def digest(root: Path, need: ImageNeed = WORKER) -> str:
    return input_hash(root, need, {"a": 1}, BASE)


def test_the_same_inputs_have_the_same_hash_wherever_they_lie(copy: Path) -> None:
    """A hash must not depend on the machine, else every clone bakes again."""
    assert digest(copy) == digest(ROOT)


@pytest.mark.parametrize(
    "path",
    [
        "ansible/ansible.cfg",
        "ansible/playbooks/worker-image.yml",
        "ansible/roles/sglang_worker/templates/sglworker.service.j2",
        "ansible/roles/image_cleanup/vars/main.yml",
        "ansible/roles/sglang_worker/files/engine-cpu/setup.py",
        "packer/worker.pkr.hcl",
        "requirements/worker.txt",
        "requirements/engine-cpu.txt",
        "worker/sglworker/__init__.py",
    ],
)
def test_a_change_of_what_reaches_a_worker_changes_its_hash(copy: Path, path: str) -> None:
    """Every kind of input counts."""
    before = digest(copy)
    with (copy / path).open("a") as file:
        file.write("\n# changed\n")
    assert digest(copy) != before


@pytest.mark.parametrize(
    "path",
    [
        "router/sglrouter/__init__.py",
        "ansible/roles/sglang_router/tasks/main.yml",
        "ansible/playbooks/configure.yml",
        "requirements/router.txt",
        "cli/sglctl/core/__init__.py",
    ],
)
def test_a_change_of_what_no_worker_gets_keeps_its_hash(copy: Path, path: str) -> None:
    """Work on the router or the CLI must not cost a bake of a worker."""
    before = digest(copy)
    with (copy / path).open("a") as file:
        file.write("\n# changed\n")
    assert digest(copy) == before


def test_a_file_moved_within_a_role_changes_the_hash(copy: Path) -> None:
    """Paths count, not contents alone."""
    before = digest(copy)
    tasks = copy / "ansible/roles/telemetry/tasks"
    (tasks / "preflight.yml").rename(tasks / "elsewhere.yml")
    assert digest(copy) != before


def test_byte_code_does_not_count(copy: Path) -> None:
    """Importing the package leaves caches behind."""
    before = digest(copy)
    cache = copy / "worker/sglworker/__pycache__"
    cache.mkdir()
    (cache / "x.cpython-311.pyc").write_bytes(b"x")
    assert digest(copy) == before


@pytest.mark.parametrize(
    ("variables", "base"), [({"a": 2}, BASE), ({"a": 1, "b": 1}, BASE), ({"a": 1}, "ami-2")]
)
def test_variables_and_the_base_image_count(variables: dict[str, int], base: str) -> None:
    """A new model, engine version or base means a new image."""
    assert input_hash(ROOT, WORKER, variables, base) != digest(ROOT)


def test_gpu_workers_do_not_depend_on_the_cpu_environment() -> None:
    """engine-cpu.txt is not installed there."""
    gpu = ImageNeed("worker-tiny", "local", "tiny", "cuda", "g6e.xlarge", None)
    names = {path.name for path in input_files(ROOT, gpu)}
    assert "worker.txt" in names
    assert "engine-cpu.txt" not in names


@pytest.mark.parametrize("kind", ["worker", "router"])
def test_the_listed_roles_are_those_of_the_playbook(kind: str) -> None:
    """A role missing from the list could change without a bake."""
    [play] = yaml.safe_load((ROOT / f"ansible/playbooks/{kind}-image.yml").read_text())
    assert tuple(role["role"] for role in play["roles"]) == ROLES[kind]  # type: ignore[index]
