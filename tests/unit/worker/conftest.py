"""Makes this folder's helper modules importable; a life that takes a second."""

import sys
from pathlib import Path

import pytest

from sglworker import agent as agent_module
from sglworker import boot, bring_up, drain, faults, hooks

sys.path.insert(0, str(Path(__file__).parent))


@pytest.fixture
def quick(monkeypatch: pytest.MonkeyPatch) -> None:
    """Look ten times as often, so that a life takes a second."""
    for name in ("_ENGINE_POLL_S", "_DRAIN_POLL_S", "_INSTANCE_POLL_S", "_SPOT_POLL_S",
                 "_EVENTS_POLL_S", "_HOOK_POLL_S", "_LIVENESS_POLL_S", "_GPU_POLL_S"):  # fmt: skip
        monkeypatch.setattr(agent_module, name, 0.05)
    monkeypatch.setattr(bring_up, "ENGINE_POLL_S", 0.05)
    monkeypatch.setattr(bring_up, "TARGET_POLL_S", 0.05)
    monkeypatch.setattr(drain, "SETTLE_S", 0.15)
    monkeypatch.setattr(bring_up, "BOOT_TIMEOUT_S", 3.0)
    monkeypatch.setattr(boot, "_FIRST_PAUSE_S", 0.05)
    monkeypatch.setattr(hooks, "HEARTBEAT_S", 0.2)
    monkeypatch.setattr(faults, "HUNG_AFTER_S", 0.3)
    monkeypatch.setattr(agent_module, "_HUNG_RECOVERY_S", 0.8)
    for name in ("AWS_EC2_METADATA_SERVICE_ENDPOINT", "AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID",
                 "AWS_SECRET_ACCESS_KEY", "AWS_REGION"):  # fmt: skip
        monkeypatch.setenv(name, "")  # what `world` sets is gone after the test
