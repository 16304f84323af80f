"""Terminations and shells: what is refused, what AWS is asked, what is handed over."""

from __future__ import annotations

import json
import os
import signal
import sys
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from sglctl.aws.session import Session, emulator_environ
from sglctl.config.loader import load
from sglctl.context import Context
from sglctl.errors import PreconditionError
from sglctl.operations import terminate, worker_shell
from sglctl.operations.audit import log_file
from sglctl.operations.terminate import Options
from sglctl.operations.workers import Fleets
from tests.unit.cli.worker_world import Agents, make_group

ROOT = Path(__file__).resolve().parents[3]
GROUP = "sgl-local-chat-spot"


@pytest.fixture
def session(endpoint: str) -> Session:
    environ = emulator_environ(os.environ, endpoint, "us-east-1")
    return Session("us-east-1", "123456789012", endpoint, environ)


@pytest.fixture
def context(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Context:
    monkeypatch.setenv("SGLCTL_STATE_DIR", str(tmp_path))
    return Context(ROOT, "local", "text", yes=True, dry_run=False, verbose=False)


@pytest.fixture
def agents(session: Session, context: Context, monkeypatch: pytest.MonkeyPatch) -> Iterator[Agents]:
    """Two ready workers of a group that may shrink to none."""
    made = Agents(dict.fromkeys(sorted(make_group(session, GROUP, 2)), "ready"))
    commands: Any = made
    fleets = Fleets(context, load(context.config_dir, "local"), session, commands)
    for module in (terminate, worker_shell):
        monkeypatch.setattr(module, "open_fleets", lambda _: fleets)
    yield made
    session.client("autoscaling").delete_auto_scaling_group(
        AutoScalingGroupName=GROUP, ForceDelete=True
    )
    session.client("ec2").delete_launch_template(LaunchTemplateName=GROUP)


def group(session: Session) -> dict[str, Any]:
    answer = session.client("autoscaling").describe_auto_scaling_groups(
        AutoScalingGroupNames=[GROUP]
    )
    found: dict[str, Any] = answer["AutoScalingGroups"][0]
    return found


def ids(session: Session) -> set[str]:
    return {item["InstanceId"] for item in group(session)["Instances"]}


def test_a_terminated_worker_is_replaced(
    context: Context, agents: Agents, session: Session
) -> None:
    first, second = agents.states
    terminate.terminate(context, [first], Options())
    assert first not in ids(session)
    assert second in ids(session)
    assert group(session)["DesiredCapacity"] == 2
    line = json.loads(log_file(context).read_text())
    assert (line["action"], line["workers"], line["outcome"]) == (
        "workers terminate", [first], "done"
    )  # fmt: skip


def test_decrement_makes_the_group_smaller(
    context: Context, agents: Agents, session: Session
) -> None:
    first, second = agents.states
    terminate.terminate(context, [first], Options(decrement=True))
    assert (ids(session), group(session)["DesiredCapacity"]) == ({second}, 1)


def test_a_draining_worker_may_be_terminated(
    context: Context, agents: Agents, session: Session
) -> None:
    first, _ = agents.states
    agents.states[first], agents.in_flight[first] = "draining", 9
    terminate.terminate(context, [first], Options())
    assert first not in ids(session)


def test_no_group_falls_below_its_minimum(
    context: Context, agents: Agents, session: Session
) -> None:
    session.client("autoscaling").update_auto_scaling_group(AutoScalingGroupName=GROUP, MinSize=2)
    with pytest.raises(PreconditionError, match="may not have fewer than 2"):
        terminate.terminate(context, [next(iter(agents.states))], Options(decrement=True))
    assert ids(session) == set(agents.states)


def test_the_last_ready_worker_is_not_terminated_by_a_mere_yes(
    context: Context, agents: Agents, session: Session
) -> None:
    with pytest.raises(PreconditionError, match="no ready worker of chat would be left"):
        terminate.terminate(context, list(agents.states), Options())
    assert ids(session) == set(agents.states)


def test_without_anybody_to_ask_a_termination_wants_yes(
    context: Context, agents: Agents, session: Session, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(terminate, "is_interactive", lambda: False)
    with pytest.raises(PreconditionError, match="wants a yes") as caught:
        terminate.terminate(replace(context, yes=False), [next(iter(agents.states))], Options())
    assert caught.value.hint == "repeat with --yes"
    assert ids(session) == set(agents.states)


def test_a_dry_run_terminates_nothing(
    context: Context, agents: Agents, session: Session, capsys: pytest.CaptureFixture[str]
) -> None:
    assert (
        terminate.terminate(replace(context, dry_run=True), list(agents.states), Options()) is None
    )
    assert ids(session) == set(agents.states)
    assert "Nobody would serve chat until then." in capsys.readouterr().err


def test_what_a_shell_on_aws_needs_is_named() -> None:
    with pytest.raises(PreconditionError, match=r"needs session-manager-plugin$"):
        worker_shell.require_tools(lambda name: "/bin/aws" if name == "aws" else None)
    worker_shell.require_tools(lambda name: f"/bin/{name}")


def test_a_shell_by_session_manager_hands_its_exit_code_over(
    context: Context, session: Session, tmp_path: Path, monkeypatch: pytest.MonkeyPatch,
    capfd: pytest.CaptureFixture[str],
) -> None:  # fmt: skip
    """Stands for the AWS CLI: prints what it was told and ends as a shell may."""
    for name, body in (("aws", 'echo "$@"; exit 3'), ("session-manager-plugin", "exit 0")):
        tool = tmp_path / name
        tool.write_text(f"#!/bin/sh\n{body}\n")
        tool.chmod(0o755)
    monkeypatch.setenv("PATH", f"{tmp_path}:{os.environ['PATH']}")
    with_tools = replace(session, environ={**session.environ, "PATH": os.environ["PATH"]})
    assert worker_shell._by_session_manager(context, with_tools, "i-1") == 3
    expected = "ssm start-session --target i-1 --region us-east-1"
    assert capfd.readouterr().out.strip() == expected


def test_a_shell_in_a_container_goes_through_the_hub(tmp_path: Path) -> None:
    command = worker_shell.ssh_command("10.20.0.4", "sgl-hub", "us-east-1", tmp_path / "key")
    assert command[0] == "ssh"
    assert "ProxyCommand=nsenter --net=/run/netns/sgl-hub nc %h %p" in command
    assert command[-3:] == ["-i", str(tmp_path / "key"), "root@10.20.0.4"]


def test_ctrl_c_belongs_to_the_shell() -> None:
    """The child, with the default handler, dies of it; we go on and have our handler back."""
    before = signal.getsignal(signal.SIGINT)
    code = "import os, signal; os.kill(os.getppid(), 2); signal.raise_signal(2)"
    assert worker_shell.run([sys.executable, "-c", code], os.environ) == -signal.SIGINT
    assert signal.getsignal(signal.SIGINT) is before


def test_process_hosts_have_no_shell(
    context: Context, agents: Agents, monkeypatch: pytest.MonkeyPatch
) -> None:
    class Emulator:
        hub = None

    monkeypatch.setattr("sglctl.local.running", lambda _: Emulator())
    with pytest.raises(PreconditionError, match="no system to log in to"):
        worker_shell.shell(context, next(iter(agents.states)))
