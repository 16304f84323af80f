"""The environment of real engines, made once a session."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.engine_process import engine_home


@pytest.fixture(scope="session")
def engine_environment() -> Path:
    """A folder with SGLang's `venv` and a `model`; skips with the reason where there is none."""
    return engine_home()
