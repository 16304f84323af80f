"""A copy of config/ that a test may change."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).resolve().parents[3]
ENVIRONMENTS = ("local", "dev", "staging", "prod", "pairs")

Change = Callable[..., Path]


@pytest.fixture(autouse=True)
def _no_variables(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("SGLCTL_REGION", "SGLCTL_ACCOUNT", "SGLCTL_RELEASE"):
        monkeypatch.delenv(name, raising=False)


@pytest.fixture(scope="session")
def config_dir() -> Path:
    """The repository's own; tests only read it."""
    return REPOSITORY / "config"


@pytest.fixture
def changed(tmp_path: Path) -> Change:
    """`changed("environments/prod.yaml", old, new, …)`: a copy of config/ with texts replaced.

    Every `old` must occur, so that a test cannot pass because its change did nothing.
    """
    target = tmp_path / "config"
    shutil.copytree(REPOSITORY / "config", target)

    def change(file: str, *pairs: str) -> Path:
        path = target / file
        text = path.read_text()
        for old, new in zip(pairs[::2], pairs[1::2], strict=True):
            assert old in text, f"{old!r} is not in {file}"
            text = text.replace(old, new, 1)
        path.write_text(text)
        return target

    return change
