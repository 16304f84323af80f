"""Where an environment's endpoint is, with which key, and how busy its workers are."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sglctl import local
from sglctl.aws.run_command import RunCommand
from sglctl.aws.session import Session, connect
from sglctl.config.loader import load
from sglctl.config.render.documents import served_name
from sglctl.errors import PreconditionError

if TYPE_CHECKING:
    from sglctl.config.desired import Desired
    from sglctl.context import Context
    from sglctl.endpoint import Target

_STATE_TIMEOUT_S = 20.0


def environment_targets(context: Context) -> list[Target]:
    """One target for every model the environment serves.

    Raises PreconditionError when the environment is not deployed.
    """
    desired = load(context.config_dir, context.environment)
    session = connect(context.environment, desired.environment, local.running(context))
    return targets(context, desired, session)


def targets(context: Context, desired: Desired, session: Session) -> list[Target]:
    """The same, for a caller that already has a session."""
    from sglctl.endpoint import Target

    url, ca_file = endpoint_url(context, desired, session)
    key = api_key(session, context.environment)
    busy = _InFlight(RunCommand(session.client("ssm")))
    models = dict.fromkeys(served_name(fleet) for fleet in desired.environment.fleets.values())
    return [Target(url, key, model, ca_file, in_flight=busy) for model in models]


def endpoint_url(context: Context, desired: Desired, session: Session) -> tuple[str, Path | None]:
    """The load balancer's URL, and the authority to trust where it is not a public one."""
    name = f"sgl-{context.environment}-router"
    if session.emulated:
        status = local.status(context)
        found = [b["url"] for b in status.get("load_balancers", []) if b["name"] == name]
        if not found:
            raise _not_deployed(context)
        if found[0] is None:
            said = "; ".join(status.get("errors", [])) or "it has no listener yet"
            raise PreconditionError(
                f"the load balancer {name} is not served: {said}",
                hint=f"sglctl local status --env {context.environment}",
            )
        secure = found[0].startswith("https:") and status.get("ca_file")
        return found[0], Path(status["ca_file"]) if secure else None
    client = session.client("elbv2")
    try:
        balancer = client.describe_load_balancers(Names=[name])["LoadBalancers"][0]
    except client.exceptions.LoadBalancerNotFoundException as error:
        raise _not_deployed(context) from error
    router = desired.environment.router
    if router.tls is None:
        return f"http://{balancer['DNSName']}:{router.listener_port}", None
    host = router.tls.domain or balancer["DNSName"]
    return f"https://{host}:{router.listener_port}", None


def _not_deployed(context: Context) -> PreconditionError:
    return PreconditionError(
        f"{context.environment} has no load balancer: it is not deployed",
        hint=f"sglctl deploy --env {context.environment}",
    )


def api_key(session: Session, environment: str) -> str | None:
    """The first key of the environment's secret; None where there is no secret or no value."""
    client = session.client("secretsmanager")
    try:
        value = client.get_secret_value(SecretId=f"sglctl/{environment}/api-keys")
    except client.exceptions.ResourceNotFoundException:
        return None
    keys: dict[str, Any] = json.loads(value["SecretString"])
    return str(next(iter(keys.values()))) if keys else None


class _InFlight:
    """Requests running or queued on a worker, as its agent counts them."""

    def __init__(self, commands: RunCommand) -> None:
        self._commands = commands

    def __call__(self, instance_id: str) -> int:
        results = self._commands.run([instance_id], "sglworker state", timeout_s=_STATE_TIMEOUT_S)
        state = json.loads(results[instance_id].stdout)
        return int(state["in_flight"]) + int(state["queued"])
