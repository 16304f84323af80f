"""Target groups whose health is measured, and whose targets drain.

moto calls every registered target healthy, terminated ones included.
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_DescribeTargetHealth.html
https://docs.aws.amazon.com/elasticloadbalancing/latest/application/edit-target-group-attributes.html#deregistration-delay
Instances without a host are reported healthy: there is nothing to ask.
"""

from __future__ import annotations

from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any

from moto.elbv2.exceptions import TargetGroupNotFoundError
from moto.elbv2.models import ELBv2Backend, FakeHealthStatus, FakeTargetGroup

from sglocal.aws.emulator import Emulator
from sglocal.aws.health import CheckRule, TargetHealth
from sglocal.aws.instances import InstanceHosts


@dataclass(frozen=True)
class Probe:
    """One check that is due."""

    health: TargetHealth
    rule: CheckRule
    address: str
    port: int


@dataclass
class Draining:
    """A target that was taken out. `until`: clock time at which its streams are given up."""

    target: dict[str, Any]
    until: float


def install(emulator: Emulator, hosts: InstanceHosts) -> TargetChecks:
    """Measure health in a loop, and answer from what it found."""
    checks = TargetChecks(emulator, hosts)
    patches = emulator.patches
    patches.wrap(FakeTargetGroup, "register", checks.wrap_register)
    patches.wrap(FakeTargetGroup, "deregister", checks.wrap_deregister)
    patches.wrap(FakeTargetGroup, "deregister_terminated_instances", checks.wrap_terminated)
    patches.wrap(FakeTargetGroup, "health_for", checks.wrap_health_for)
    patches.wrap(ELBv2Backend, "describe_target_health", checks.wrap_describe)
    emulator.every("target-health", emulator.timing.health_s, checks.step)
    return checks


def health_of(target_group: Any) -> dict[str, TargetHealth]:
    """Health by target id, made on first use."""
    if not hasattr(target_group, "sgl_health"):
        target_group.sgl_health = {}
    known: dict[str, TargetHealth] = target_group.sgl_health
    return known


def draining_of(target_group: Any) -> dict[str, Draining]:
    """Targets still draining, by id."""
    if not hasattr(target_group, "sgl_draining"):
        target_group.sgl_draining = {}
    known: dict[str, Draining] = target_group.sgl_draining
    return known


class TargetChecks:
    """Registers, measures and drains the targets of every target group."""

    def __init__(self, emulator: Emulator, hosts: InstanceHosts) -> None:
        self.emulator = emulator
        self.hosts = hosts

    # -- the API's side ---------------------------------------------------------------------------

    def wrap_register(self, original: Any) -> Any:
        """A registered target starts as `initial`."""

        def register(group: Any, targets: list[dict[str, Any]]) -> None:
            known = set(group.targets)
            original(group, targets)
            for target in targets:
                draining_of(group).pop(target["Id"], None)
                if target["Id"] not in known:
                    health_of(group)[target["Id"]] = TargetHealth()
            self.emulator.wake()

        return register

    def wrap_deregister(self, original: Any) -> Any:
        """A deregistered target drains for the group's deregistration delay."""

        def deregister(group: Any, targets: list[dict[str, Any]]) -> None:
            delay = float(group.attributes["deregistration_delay.timeout_seconds"])
            leaving = [group.targets[t["Id"]] for t in targets if t["Id"] in group.targets]
            original(group, targets)
            for target in leaving:
                health_of(group).pop(target["Id"], None)
                until = self.emulator.clock() + delay
                draining_of(group)[target["Id"]] = Draining(target, until)
            self.emulator.wake()

        return deregister

    def wrap_terminated(self, _original: Any) -> Any:
        """A terminated instance is no longer a target."""

        def deregister_terminated_instances(group: Any, instance_ids: list[str]) -> None:
            for target_id in instance_ids:
                group.targets.pop(target_id, None)
                group.deregistered_targets.pop(target_id, None)
                health_of(group).pop(target_id, None)
                draining_of(group).pop(target_id, None)

        return deregister_terminated_instances

    def wrap_health_for(self, original: Any) -> Any:
        """The measured health."""

        def health_for(group: Any, target: dict[str, Any], ec2: Any) -> Any:
            target_id = target["Id"]
            registered = group.targets.get(target_id)
            port = (registered or target).get("Port", group.port)
            if registered is None and target_id in draining_of(group):
                return _status(
                    group,
                    target_id,
                    port,
                    "draining",
                    "Target.DeregistrationInProgress",
                    "Target deregistration is in progress",
                )
            stock = original(group, target, ec2)
            if stock.status != "healthy":
                return stock
            if not group.load_balancer_arns:
                reason = "Target group is not configured to receive traffic from the load balancer"
                return _status(group, target_id, port, "unused", "Target.NotInUse", reason)
            if not self._measured(target_id):
                return stock
            health = health_of(group).setdefault(target_id, TargetHealth())
            return _status(group, target_id, port, health.status, health.reason, health.description)

        return health_for

    def wrap_describe(self, _original: Any) -> Any:
        """Registered and draining targets."""

        def describe(backend: Any, arn: str, targets: list[dict[str, Any]]) -> list[Any]:
            group = backend.target_groups.get(arn)
            if group is None:
                raise TargetGroupNotFoundError()
            leaving = [d.target for d in draining_of(group).values()]
            wanted = targets or [*group.targets.values(), *leaving]
            return [group.health_for(target, backend.ec2_backend) for target in wanted]

        return describe

    def _measured(self, target_id: str) -> bool:
        return not target_id.startswith("i-") or self.hosts.has_host(target_id)

    # -- the loop ---------------------------------------------------------------------------------

    def step(self) -> None:
        """Do the checks that are due, several at once, and end drains that are over."""
        with self.emulator.lock:
            self._end_drains()
            due = list(self._due())
        if not due:
            return
        with ThreadPoolExecutor(max_workers=min(16, len(due))) as pool:
            answers = list(pool.map(self._ask, due))
        with self.emulator.lock:
            before = [probe.health.status for probe in due]
            for probe, answer in zip(due, answers, strict=True):
                probe.health.observe(answer, probe.rule, self.emulator.clock())
            changed = before != [probe.health.status for probe in due]
        if changed:
            self.emulator.wake()

    def _ask(self, probe: Probe) -> int | None:
        return self.emulator.driver.http_status(
            probe.address, probe.port, probe.rule.path, timeout_s=probe.rule.timeout_s
        )

    def _due(self) -> Iterator[Probe]:
        now = self.emulator.clock()
        for group in self.emulator.elbv2.target_groups.values():
            if not group.health_check_enabled or not group.load_balancer_arns:
                continue
            rule = _rule(group)
            for target in group.targets.values():
                address = self._address(target["Id"])
                health = health_of(group).setdefault(target["Id"], TargetHealth())
                if address and self._measured(target["Id"]) and health.next_at <= now:
                    yield Probe(health, rule, address, _check_port(group, target))

    def _address(self, target_id: str) -> str | None:
        if not target_id.startswith("i-"):
            return target_id
        instance = self.emulator.instance(target_id)
        return instance.private_ip if instance is not None else None

    def _end_drains(self) -> None:
        now = self.emulator.clock()
        for group in self.emulator.elbv2.target_groups.values():
            draining = draining_of(group)
            for target_id in [key for key, drain in draining.items() if drain.until <= now]:
                del draining[target_id]


def _status(
    group: Any, target_id: str, port: Any, status: str, reason: str | None, description: str | None
) -> Any:
    return FakeHealthStatus(target_id, port, group.health_check_port, status, reason, description)


def _check_port(group: Any, target: dict[str, Any]) -> int:
    configured = group.health_check_port
    return int(target["Port"] if configured in (None, "traffic-port") else configured)


def _rule(group: Any) -> CheckRule:
    return CheckRule(
        path=group.health_check_path or "/",
        matcher=str((group.matcher or {}).get("HttpCode", "200")),
        interval_s=float(group.health_check_interval_seconds),
        timeout_s=float(group.health_check_timeout_seconds),
        healthy_threshold=int(group.healthy_threshold_count),
        unhealthy_threshold=int(group.unhealthy_threshold_count),
    )
