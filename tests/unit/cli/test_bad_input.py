"""Bad input to commands about workers: the message, the exit code, and no agent is told anything.

Numbers out of bounds are in test_scale.py.
"""

from __future__ import annotations

import sys
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sglctl.config.desired import Desired
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.core.workers import Worker
from sglctl.main import main
from sglctl.operations import drain, terminate, timeline
from sglctl.operations.workers import Fleets
from tests.unit.cli.worker_world import Agents, worker

ROOT = Path(__file__).resolve().parents[3]
WORKERS = (
    worker("i-0ready"), worker("i-0other", fleet="reason"), worker("i-0busy", "draining"),
    worker("i-0idle", "drained"), worker("i-0boot", "booting", "Pending:Wait"),
    worker("i-0going", "draining", "Terminating:Wait"),
    worker("i-0warm", "warmed", "Warmed:Running"),
)  # fmt: skip


class Listed(Fleets):
    """Fleets without AWS."""

    def listed(self) -> list[Worker]:
        return [replace(one, agent=replace(one.agent, state="unknown")) for one in WORKERS]


@pytest.fixture(scope="module")
def desired() -> Desired:
    return load(ROOT / "config", "local")


@pytest.fixture
def agents(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, desired: Desired) -> Agents:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    monkeypatch.setenv("SGLCTL_ROOT", str(ROOT))
    made = Agents(
        {one.instance_id: one.agent.state for one in WORKERS}, {"i-0busy": 3, "i-0going": 2}
    )
    anything: Any = made
    context = Context(ROOT, "local", "text", yes=False, dry_run=False, verbose=False)
    fleets = Listed(context, desired, anything, anything)
    for module in (drain, terminate, timeline):
        monkeypatch.setattr(module, "open_fleets", lambda _: fleets)
    return made


UNKNOWN = "local has no worker i-0read"
CASES = [
    ("drain i-0read", 4, UNKNOWN),
    ("undrain i-0read", 4, UNKNOWN),
    ("terminate --yes i-0read", 4, UNKNOWN),
    ("timeline i-0read", 4, UNKNOWN),
    ("drain i-0read", 4, "did you mean i-0ready?"),
    ("drain", 2, "Missing argument"),
    ("drain --deadline -1 i-0ready", 2, "-1"),
    ("drain i-0ready", 4, "no ready worker of chat would be left"),
    ("drain --yes i-0ready", 4, "or repeat with --force"),
    ("drain i-0ready i-0boot", 4, "cannot drain: i-0boot is booting"),
    ("drain i-0busy", 0, "i-0busy drains already (3 in flight, 0 queued): nothing to do."),
    ("drain i-0idle", 0, "i-0idle is drained already: nothing to do."),
    ("undrain i-0ready", 0, "i-0ready is ready, not draining: nothing to do."),
    ("undrain i-0going", 4, "is being terminated (Terminating:Wait); that is not undone"),
    ("undrain i-0warm", 4, "i-0warm is warmed, not draining"),
    ("terminate --yes i-0going", 0, "is being terminated already (Terminating:Wait"),
    ("terminate --yes i-0warm", 4, "is in the warm pool, whose size decides"),
    ("terminate --yes i-0ready", 4, "no ready worker of chat would be left"),
    ("terminate i-0busy", 4, "a termination wants a yes"),
    ("timeline --fleet caht", 4, "local has no fleet 'caht'"),
    ("timeline --from no-such-file", 4, "no-such-file cannot be read"),
    ("list --state redy", 2, "'redy' is none of"),
]


@pytest.mark.parametrize(("words", "code", "told"), CASES)
def test_bad_input_is_told_and_changes_nothing(
    agents: Agents, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str],
    words: str, code: int, told: str,
) -> None:  # fmt: skip
    monkeypatch.setattr(sys, "argv", ["sglctl", "workers", *words.split()])
    with pytest.raises(SystemExit) as ended:
        main()
    assert (ended.value.code, told in capsys.readouterr().err) == (code, True)
    assert agents.scripts == []
