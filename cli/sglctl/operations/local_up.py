"""Bring up the emulator for an environment: the right hosts, its account, its certificate."""

from __future__ import annotations

from sglctl import local
from sglctl.aws.session import DEFAULT_ACCOUNT
from sglctl.config.desired import Desired
from sglctl.context import Context
from sglctl.errors import LocalError
from sglctl.operations.audit import audited
from sglctl.output import say


def choice_for(context: Context, desired: Desired, hosts: str) -> local.HostChoice:
    """What hosts become; what already runs is kept with `auto`.

    Raises PreconditionError, LocalError.
    """
    current = local.read_endpoint(local.local_dir(context))
    if current is not None and local.answers(current):
        if hosts not in ("auto", current.hosts):
            raise LocalError(
                f"the emulator of {context.environment} already runs with {current.hosts}",
                hint=f"sglctl destroy --env {context.environment}, or sglctl local down "
                f"--env {context.environment}, first",
            )
        kind: local.Hosts = "containers" if current.hosts == "containers" else "processes"
        return local.HostChoice(kind, "as they run already")
    return local.this_machine(hosts, desired.environment.target)


def bring_up(context: Context, desired: Desired, hosts: str) -> local.Emulator:
    """Start or repair the emulator. Idempotent."""
    choice = choice_for(context, desired, hosts)
    say(choice.sentence())
    environment = desired.environment
    account = environment.account or DEFAULT_ACCOUNT
    with audited(context, "local up", hosts=choice.kind):
        emulator = local.up(context, choice.kind, account, environment.region)
        tls = environment.router.tls
        if tls is not None and tls.domain is not None:
            local.seed(emulator, {"certificates": [tls.domain]})
    return emulator
