"""The model of what moto's load balancers describe. Hold the emulator's lock."""

from __future__ import annotations

import logging
import re
from collections.abc import Callable, Mapping
from typing import Any

from sglocal.aws.emulator import Emulator
from sglocal.aws.target_health import draining_of
from sglocal.balancer.model import (
    Action,
    Fixed,
    Forward,
    Listener,
    Model,
    Pool,
    Redirect,
    Rule,
    Target,
)

log = logging.getLogger(__name__)

DEFAULT_IDLE_S = 60
CertificatePath = Callable[[str], str | None]


def model_of(
    emulator: Emulator, bound: Mapping[tuple[str, int], int], certificate: CertificatePath
) -> Model:
    """What to serve. `bound`: local port by (load balancer, port); `certificate`: PEM file."""
    elbv2 = emulator.elbv2
    listeners: list[Listener] = []
    idle: dict[str, int] = {}
    for balancer in elbv2.load_balancers.values():
        if balancer.type != "application":
            continue
        timeout = idle_timeout(balancer)
        for listener in balancer.listeners.values():
            local = bound.get((balancer.name, int(listener.port)))
            if local is None:
                continue
            made = _listener(balancer, listener, local, timeout, certificate)
            listeners.append(made)
            for action in [made.default, *(rule.action for rule in made.rules)]:
                if isinstance(action, Forward):
                    idle |= {name: max(timeout, idle.get(name, 0)) for name, _ in action.pools}
    pools = [
        _pool(emulator, group, idle[pool_name(group.arn)])
        for group in elbv2.target_groups.values()
        if pool_name(group.arn) in idle
    ]
    served = {pool.name for pool in pools}
    return Model([_without_missing(item, served) for item in listeners], pools)


def idle_timeout(balancer: Any) -> int:
    """The balancer's idle timeout in seconds."""
    return int(balancer.attrs.get("idle_timeout.timeout_seconds", DEFAULT_IDLE_S))


def pool_name(arn: str) -> str:
    """The name of a target group in the configuration."""
    return re.sub(r"[^A-Za-z0-9]+", "-", arn.partition(":targetgroup/")[2])


def _without_missing(listener: Listener, served: set[str]) -> Listener:
    """A forward to a target group that was deleted answers 503."""

    def fixed(action: Action) -> Action:
        if isinstance(action, Forward):
            return Forward([(name, weight) for name, weight in action.pools if name in served])
        return action

    rules = [Rule(rule.paths, rule.hosts, fixed(rule.action)) for rule in listener.rules]
    return Listener(**{**vars(listener), "default": fixed(listener.default), "rules": rules})


def _listener(
    balancer: Any, listener: Any, local: int, timeout: int, certificate: CertificatePath
) -> Listener:
    paths = [certificate(arn) for arn in listener.certificates]
    rules = [r for r in listener.rules.values() if r.priority != "default"]
    rules.sort(key=lambda rule: int(rule.priority))
    return Listener(
        name=f"{balancer.name}-{listener.port}",
        balancer=balancer.name,
        port=int(listener.port),
        bound=local,
        certificates=[path for path in paths if path is not None],
        idle_timeout_s=timeout,
        default=_action(listener.default_actions, int(listener.port)),
        rules=[r for r in (_rule(rule, int(listener.port)) for rule in rules) if r is not None],
    )


def _rule(rule: Any, port: int) -> Rule | None:
    paths: list[str] = []
    hosts: list[str] = []
    for condition in rule.conditions:
        field = condition.get("Field")
        detailed = condition.get("PathPatternConfig") or condition.get("HostHeaderConfig") or {}
        values = list(condition.get("Values") or detailed.get("Values") or [])
        if field == "path-pattern":
            paths += values
        elif field == "host-header":
            hosts += values
        else:
            log.warning("listener rule %s: conditions on %s are not served", rule.arn, field)
            return None
    return Rule(paths, hosts, _action(rule.actions, port)) if paths or hosts else None


def _action(actions: list[Any], port: int) -> Action:
    """The last action decides (the ones before it authenticate, which is not served)."""
    data = actions[-1].data
    if data["Type"] == "fixed-response":
        config = data["FixedResponseConfig"]
        content_type = config.get("ContentType") or "text/plain"
        return Fixed(int(config["StatusCode"]), content_type, config.get("MessageBody") or "")
    if data["Type"] == "redirect":
        return _redirect(data["RedirectConfig"], port)
    config = data.get("ForwardConfig") or {}
    groups = config.get("TargetGroups") or [{"TargetGroupArn": data["TargetGroupArn"]}]
    return Forward([(pool_name(g["TargetGroupArn"]), int(g.get("Weight", 1))) for g in groups])


def _redirect(config: Mapping[str, Any], port: int) -> Redirect:
    scheme = (config.get("Protocol") or "#{protocol}").replace("#{protocol}", "http").lower()
    host = (config.get("Host") or "#{host}").replace("#{host}", "127.0.0.1")
    where = (config.get("Port") or "#{port}").replace("#{port}", str(port))
    path = (config.get("Path") or "/#{path}").replace("/#{path}", "")
    status = 301 if config.get("StatusCode") == "HTTP_301" else 302
    return Redirect(f"{scheme}://{host}:{where}{path or '/'}", status)


def _pool(emulator: Emulator, group: Any, timeout: int) -> Pool:
    members = [(target, False) for target in group.targets.values()]
    members += [(drain.target, True) for drain in draining_of(group).values()]
    health = {t["Id"]: group.health_for(t, emulator.ec2).status for t in group.targets.values()}
    # With no healthy target an ALB sends requests to all unhealthy ones ("fail open").
    open_to = "healthy" if "healthy" in health.values() else "unhealthy"
    targets = []
    for target, leaving in members:
        address = _address(emulator, target["Id"])
        if address is None:
            continue
        ready = not leaving and health.get(target["Id"]) == open_to
        state = "ready" if ready else "drain"
        targets.append(Target(target["Id"], address, int(target["Port"]), state))  # type: ignore[arg-type]
    algorithm = group.attributes.get("load_balancing.algorithm.type")
    return Pool(pool_name(group.arn), targets, algorithm == "least_outstanding_requests", timeout)


def _address(emulator: Emulator, target_id: str) -> str | None:
    if not target_id.startswith("i-"):
        return target_id
    instance = emulator.instance(target_id)
    if instance is None or instance.state in ("terminated", "pending"):
        return None
    return str(instance.private_ip)
