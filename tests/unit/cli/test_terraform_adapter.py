"""The Terraform class, against the real program and a module without providers."""

from __future__ import annotations

import os
import shutil
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from sglctl.errors import TerraformError, WaitTimeoutError
from sglctl.terraform import adapter, process
from sglctl.terraform.adapter import Terraform
from sglctl.terraform.events import Event, ResourceEvent, SummaryEvent

pytestmark = [
    pytest.mark.terraform,
    pytest.mark.skipif(shutil.which("terraform") is None, reason="terraform is not installed"),
]

MODULE = """
variable "name" {
  type = string
  validation {
    condition     = length(var.name) < 10
    error_message = "name must be short."
  }
}
resource "terraform_data" "greeting" {
  input = var.name
}
resource "terraform_data" "slow" {
  count = var.name == "slow" ? 1 : 0
  provisioner "local-exec" {
    command = "sleep 60"
  }
}
output "greeting" { value = terraform_data.greeting.output }
"""


Make = Callable[[str], Terraform]


@pytest.fixture
def make(tmp_path: Path) -> Make:
    root = tmp_path / "root"
    root.mkdir()
    (root / "main.tf").write_text(MODULE)

    def terraform(name: str) -> Terraform:
        made = Terraform(root, tmp_path / "state", variables={"name": name})
        made.init(None)
        return made

    return terraform


def test_plan_apply_and_output_agree(make: Make, tmp_path: Path) -> None:
    """A plan has changes, its apply streams events, and the next plan has none."""
    terraform = make("world")
    events: list[Event] = []
    plan = terraform.plan(tmp_path / "plan")
    terraform.apply(plan.file, on_event=events.append)
    again = terraform.plan(tmp_path / "again")
    assert (plan.changes, again.changes) == (True, False)
    assert terraform.output() == {"greeting": "world"}
    assert terraform.resources() == 1
    phases = [(e.phase, e.address) for e in events if isinstance(e, ResourceEvent)]
    assert phases == [
        ("start", "terraform_data.greeting"),
        ("complete", "terraform_data.greeting"),
    ]
    assert SummaryEvent(1, 0, 0, "apply") in events


def test_destroy_needs_no_removed_flag(make: Make, tmp_path: Path) -> None:
    """python-terraform's own destroy passes -force, which Terraform no longer knows."""
    terraform = make("world")
    terraform.apply(terraform.plan(tmp_path / "plan").file)
    terraform.destroy()
    assert terraform.resources() == 0


def test_a_refused_variable_names_the_reason_and_the_fix(make: Make, tmp_path: Path) -> None:
    with pytest.raises(TerraformError, match=r"name must be short") as caught:
        make("much-too-long-a-name").plan(tmp_path / "plan")
    assert caught.value.hint == "check config/ with: sglctl validate"


def test_a_stale_plan_says_what_to_do(make: Make, tmp_path: Path) -> None:
    terraform = make("world")
    old = terraform.plan(tmp_path / "old")
    terraform.apply(terraform.plan(tmp_path / "new").file)
    with pytest.raises(TerraformError, match="stale") as caught:
        terraform.apply(old.file)
    assert caught.value.hint is not None
    assert "sglctl plan" in caught.value.hint


@pytest.fixture
def interruptible() -> Iterator[None]:
    """Ctrl-C raises, as at a terminal; a test run started with SIGINT ignored passes that on."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


@pytest.mark.usefixtures("interruptible")
def test_ctrl_c_leaves_no_lock(make: Make, tmp_path: Path) -> None:
    """SIGINT during an apply ends Terraform, its child and the lock."""
    terraform = make("slow")
    plan = terraform.plan(tmp_path / "plan")

    def interrupt(event: Event) -> None:
        if isinstance(event, ResourceEvent) and event.address.startswith("terraform_data.slow"):
            timer = threading.Timer(0.2, os.kill, (os.getpid(), signal.SIGINT))
            timer.start()

    started = time.monotonic()
    with pytest.raises(process.Cancelled) as caught:
        terraform.apply(plan.file, on_event=interrupt)
    assert caught.value.clean
    assert time.monotonic() - started < 30
    assert not list(tmp_path.rglob("*.lock.info"))
    assert make("quick").plan(tmp_path / "next").changes


def test_a_deadline_stops_terraform(
    make: Make, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    terraform = make("slow")
    plan = terraform.plan(tmp_path / "plan")
    monkeypatch.setitem(adapter.TIMEOUTS_S, "apply", 2.0)  # type: ignore[arg-type]
    with pytest.raises(WaitTimeoutError, match="did not end within 2 s"):
        terraform.apply(plan.file)
