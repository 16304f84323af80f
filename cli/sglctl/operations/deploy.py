"""Everything, in order; every step is idempotent, so running it again goes on where it stopped."""

from __future__ import annotations

import shlex
import shutil
import sys
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sglctl import local
from sglctl.aws.api_keys import ensure_admin_key, ensure_value, externals_without_key
from sglctl.aws.fleet_state import groups, outdated
from sglctl.aws.session import Session, connect
from sglctl.config.desired import Desired
from sglctl.context import Context
from sglctl.core.table import table
from sglctl.operations import wait
from sglctl.operations.audit import audited
from sglctl.operations.display import live
from sglctl.operations.local_up import bring_up, choice_for
from sglctl.operations.planning import Planned, apply_plan, confirm, make_plan
from sglctl.operations.target import endpoint_url, targets
from sglctl.operations.workspace import Workspace, load_valid, open_workspace
from sglctl.output import say

if TYPE_CHECKING:
    from sglctl.endpoint import Report


@dataclass(frozen=True)
class Deployed:
    """The result. `reports` is empty when tests were skipped."""

    environment: str
    url: str
    curl: str
    routers: int
    workers: int
    hosts: str
    reports: tuple[Report, ...] = field(default=())

    @property
    def passed(self) -> bool:
        return all(report.passed for report in self.reports)

    def to_json(self) -> dict[str, Any]:
        return {
            "environment": self.environment,
            "url": self.url,
            "curl": self.curl,
            "routers": self.routers,
            "workers": self.workers,
            "hosts": self.hosts,
            "tests": [report.to_json() for report in self.reports],
        }

    def to_text(self) -> str:
        lines = [text for report in self.reports for text in (report.to_text(), "")]
        lines += table(
            [
                ("environment", self.environment),
                ("hosts", self.hosts),
                ("serving", f"{self.routers} routers, {self.workers} workers"),
                ("url", self.url),
            ]
        )
        return "\n".join([*lines, "", "Try it:", self.curl])


def deploy(context: Context, *, hosts: str, skip_tests: bool) -> Deployed | None:
    """Bring an environment up; None for a dry run (which changes nothing).

    Raises any SglctlError; what was done stays, and the next run goes on from there.
    """
    desired = load_valid(context)
    emulator = _emulator(context, desired, hosts)
    if context.dry_run and desired.is_local and emulator is None:
        say(f"Would start the emulator. {choice_for(context, desired, hosts).sentence()}")
        say("Would make images, plan and apply; nothing of it exists yet to plan against.")
        return None
    session = connect(context.environment, desired.environment, emulator)
    workspace = _prepared(context, desired, session)
    planned = make_plan(workspace)
    say(planned.to_text())
    if context.dry_run:
        say("Dry run: nothing was changed.")
        return None
    with audited(context, "deploy", account=session.account, emulated=session.emulated):
        return _carry_out(workspace, planned, skip_tests, _hosts_named(emulator))


def _emulator(context: Context, desired: Desired, hosts: str) -> local.Emulator | None:
    """The environment's emulator, started for `local` and repaired for any that had one."""
    started = local.read_endpoint(local.local_dir(context))
    if not desired.is_local and started is None and hosts == "auto":
        return None
    if context.dry_run:
        return local.running(context)
    return bring_up(context, desired, hosts)


def _hosts_named(emulator: local.Emulator | None) -> str:
    if emulator is None:
        return "EC2 instances"
    if emulator.hosts == "processes":
        return f"processes of this machine ({local.NOT_EXERCISED})"
    return "containers of this machine"


def _prepared(context: Context, desired: Desired, session: Session) -> Workspace:
    """Images made, state connected."""
    from sglctl.images import ensure_images

    if context.dry_run:
        workspace = open_workspace(context, desired, session)
    else:
        with live("Images") as line:
            images = ensure_images(context, desired, session, _both(line))
        _pin(context, desired, session, images)
        workspace = open_workspace(context, desired, session, images)
    workspace.init(create_bucket=not context.dry_run)
    return workspace


def _both(line: Any) -> Any:
    def progress(text: str) -> None:
        say(f"  {text}")
        line.update(text)

    return progress


def _pin(context: Context, desired: Desired, session: Session, images: dict[str, str]) -> None:
    """On AWS new ids go into the release file, to be committed with it."""
    if session.emulated:
        return
    from sglctl.images.pins import pin_images

    file = context.config_dir / "releases" / f"{desired.environment.release}.yaml"
    if names := pin_images(file, session.region, images):
        say(f"Pinned {', '.join(names)} in {file.name}: commit it")


def _carry_out(workspace: Workspace, planned: Planned, skip_tests: bool, hosts: str) -> Deployed:
    context, desired, session = workspace.context, workspace.desired, workspace.session
    if planned.changes:
        confirm(workspace, f"Apply this to {context.environment}?")
        apply_plan(workspace, planned)
    _ensure_keys(context, desired, session)
    with live("Waiting until it serves") as line:
        seen = wait.until_serving(
            lambda: wait.observe(context, desired, session),
            wait.wanted_at_least(desired),
            timeout_s=wait.launch_deadline_s(desired),
            line=line,
            why=wait.failure_of(context, session),
            blocked=wait.obstacle_of(context, session),
        )
    if old := outdated(session, groups(session, context.environment)):
        say(
            f"Warning: {', '.join(old)} still run an earlier image or configuration. Terraform "
            "does not replace instances, and rollouts are not built yet; to replace them here: "
            f"sglctl destroy --env {context.environment}, then deploy"
        )
    url, ca_file = endpoint_url(context, desired, session)
    reports = () if skip_tests else _tested(context, desired, session)
    model = next(iter(desired.environment.fleets.values()))
    return Deployed(
        environment=context.environment,
        url=url,
        curl=curl_line(context, desired, url, ca_file, model.serve_as or model.model),
        routers=seen.healthy_routers,
        workers=seen.ready_workers or 0,
        hosts=hosts,
        reports=tuple(reports),
    )


def _ensure_keys(context: Context, desired: Desired, session: Session) -> None:
    """The routers' secrets get their first values; they read them within seconds."""
    name, wanted = context.environment, desired.environment
    if wanted.router.api_keys and ensure_value(session, name):
        say(f"Made the first API key (secret sglctl/{name}/api-keys)")
    if wanted.router.admin_key and ensure_admin_key(session, name):
        say(f"Made the routers' admin key (secret sglctl/{name}/admin-key)")
    for secret in externals_without_key(session, name, wanted.externals):
        say(f"Warning: put the key into the secret {secret}; until then that tier is left out")


def _tested(context: Context, desired: Desired, session: Session) -> Sequence[Report]:
    from sglctl.endpoint import run_suite

    reports = []
    for target in targets(context, desired, session):
        with live(f"Testing {target.model}") as line:
            reports.append(run_suite(target, progress=lambda result: line.update(result.name)))
    return reports


def curl_line(
    context: Context, desired: Desired, url: str, ca_file: Path | None, model: str
) -> str:
    """A line that works when pasted; the key is read from the secret, never printed."""
    parts = ["curl", "-sN"]
    if ca_file is not None:
        parts += ["--cacert", shlex.quote(str(ca_file))]
    parts.append(f"{url}/v1/chat/completions")
    parts += ["-H", "'content-type: application/json'"]
    if desired.environment.router.api_keys:
        command = f"{shlex.join(_program())} status --env {context.environment} --show-key"
        parts += ["-H", f'"authorization: Bearer $({command})"']
    body = (
        f'{{"model": "{model}", "stream": true, "max_tokens": 32, '
        '"messages": [{"role": "user", "content": "Hello"}]}'
    )
    return " ".join([*parts, "-d", f"'{body}'"])


def _program() -> list[str]:
    """How this sglctl was called."""
    called = Path(sys.argv[0])
    if called.name != "sglctl":
        return [sys.executable, "-m", "sglctl"]
    return ["sglctl"] if shutil.which("sglctl") == str(called) else [str(called)]
