"""The document routers read (RouterDocument). What has the router's own default is left out:
an SSM parameter holds 8 KB at most."""

from __future__ import annotations

from typing import Any

from sglctl.config.base import ROUTER_ADMIN_PORT, ROUTER_PORT, Strict
from sglctl.config.desired import Desired
from sglctl.config.environment import Router
from sglctl.config.render.documents import resolve, served_name

#: A router closes idle connections later than the load balancer, which must be first.
#: https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-load-balancer-attributes.html
IDLE_MARGIN_S = 20
#: Fields of a fleet that have the same name, meaning and default in the router's document.
ROUTED = (
    "policy",
    "first_byte_timeout_s",
    "max_in_flight",
    "max_in_flight_per_worker",
    "queue",
    "breaker",
    "fallback",
)


def _changed(model: Strict, *fields: str) -> dict[str, Any]:
    include = set(fields) or None
    return model.model_dump(mode="json", exclude_defaults=True, include=include)


def _route(desired: Desired, name: str) -> dict[str, Any]:
    fleet, _, settings, _ = resolve(desired, name)
    return {
        "models": [served_name(fleet)],
        "engine": fleet.engine,
        "context_length": settings.context_length,
        **_changed(fleet, *ROUTED),
    }


def _listen(router: Router) -> dict[str, Any]:
    listen = {
        "host": "0.0.0.0",  # noqa: S104 - the security group decides who reaches it
        "port": ROUTER_PORT,
        "admin_host": "0.0.0.0",  # noqa: S104
        "admin_port": ROUTER_ADMIN_PORT,
    }
    return listen | _changed(router, "processes")


def _keys(desired: Desired) -> dict[str, Any] | None:
    router = desired.environment.router
    if not router.api_keys:
        return None
    keys: dict[str, Any] = {"secret": f"sglctl/{desired.name}/api-keys"}
    for value in _changed(router, "failed_keys_per_minute").values():
        keys["failed_per_minute"] = value
    return keys


def _externals(desired: Desired) -> dict[str, Any]:
    return {
        name: {
            "kind": external.kind,
            "url": external.url,
            "key": {"secret": f"sglctl/{desired.name}/external/{name}"},
            "models": external.models,
        }
        for name, external in desired.environment.externals.items()
    }


def _optional(desired: Desired) -> dict[str, Any]:
    """What most environments do not have."""
    router = desired.environment.router
    found: dict[str, Any] = {
        "affinity": _changed(router.affinity),
        "externals": _externals(desired),
    }
    if router.admin_key:
        found["admin_key"] = {"secret": f"sglctl/{desired.name}/admin-key"}
    if router.count > 1:
        found["peers"] = {"kind": "aws"}
    found = {key: value for key, value in found.items() if value}
    return found | ({"cloudwatch": {}} if router.cloudwatch else {})


def render_router_document(desired: Desired) -> dict[str, Any]:
    """What the routers do (sglrouter.models.RouterDocument)."""
    router = desired.environment.router
    return {
        "version": 1,
        "environment": desired.name,
        "listen": _listen(router),
        "policy": router.policy,
        # Prefill workers serve their decode fleet: their tag `sglctl:pair` says so.
        "fleets": {
            name: _route(desired, name)
            for name, fleet in desired.environment.fleets.items()
            if fleet.role != "prefill"
        },
        "limits": {
            "max_body_bytes": router.limits.max_body_bytes,
            "drain_s": router.limits.drain_s,
            "drain_notice_s": router.limits.drain_notice_s,
            "idle_timeout_s": router.idle_timeout_s + IDLE_MARGIN_S,
        },
        "keys": _keys(desired),
        "discovery": {"kind": "aws", "interval_s": 5, "state_interval_s": 0.5},
        **_optional(desired),
    }
