"""Instances become hosts.

RunInstances, StartInstances, StopInstances, RebootInstances and TerminateInstances answer at once
and the instance changes state when its host has, as on EC2:
https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/ec2-instance-lifecycle.html
A host that cannot start makes the instance `terminated` with a state reason:
https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_StateReason.html
"""

from __future__ import annotations

import logging
import subprocess
from collections.abc import Callable
from functools import partial
from typing import Any

from moto.ec2.exceptions import EC2ClientError, InvalidAMIIdError
from moto.ec2.models.instances import Instance, InstanceBackend, StateReason
from moto.ec2.models.subnets import Subnet

from sglocal.aws import host_spec
from sglocal.aws.emulator import Emulator
from sglocal.hosts.driver import HostError

log = logging.getLogger(__name__)

PENDING, RUNNING, SHUTTING_DOWN, TERMINATED, STOPPING, STOPPED = (
    ("pending", 0),
    ("running", 16),
    ("shutting-down", 32),
    ("terminated", 48),
    ("stopping", 64),
    ("stopped", 80),
)
# What a driver may raise when the operating system refuses.
DRIVER_ERRORS = (HostError, OSError, subprocess.SubprocessError)
# Seconds a host gets for an orderly shutdown before it is cut off: when it is stopped, and when it
# is terminated, as a router's streams, of which no hook knows, must then end. EC2 gives minutes:
# https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/instance-terminate-methods.html
SHUTDOWN_GRACE_S, TERMINATE_GRACE_S = 5.0, 60.0


def install(emulator: Emulator) -> InstanceHosts:
    """Connect the instance calls to the driver; returns the part that other extensions ask."""
    hosts = InstanceHosts(emulator)
    patches = emulator.patches
    patches.wrap(InstanceBackend, "run_instances", hosts.wrap_run)
    patches.wrap(InstanceBackend, "get_instance_by_id", _indexed)
    patches.wrap(Subnet, "get_available_subnet_ip", _with_a_full_subnet)
    patches.wrap(Instance, "terminate", hosts.wrap_terminate)
    patches.wrap(Instance, "stop", hosts.wrap_stop)
    patches.wrap(Instance, "start", hosts.wrap_start)
    patches.wrap(Instance, "reboot", hosts.wrap_reboot)
    emulator.every("host-watch", emulator.timing.host_watch_s, hosts.watch)
    return hosts


def _indexed(original: Any) -> Any:
    """moto walks every instance ever started for each look-up."""

    def get_instance_by_id(backend: Any, instance_id: str) -> Any:
        if not hasattr(backend, "sgl_index"):
            backend.sgl_index = {}
        found = backend.sgl_index.get(instance_id)
        if found is None:
            found = original(backend, instance_id)
            if found is not None:
                backend.sgl_index[instance_id] = found
        return found

    return get_instance_by_id


def _with_a_full_subnet(original: Any) -> Any:
    """A subnet without addresses refuses, as on EC2; moto ends with StopIteration."""

    def get_available_subnet_ip(subnet: Any, instance: Any) -> str:
        try:
            return str(original(subnet, instance))
        except StopIteration:
            raise EC2ClientError(
                "InsufficientFreeAddressesInSubnet",
                "There are not enough free addresses in subnet "
                f"'{subnet.id}' to satisfy the requested number of instances.",
            ) from None

    return get_available_subnet_ip


class InstanceHosts:
    """Which instances have a host, and the work that makes and removes them."""

    def __init__(self, emulator: Emulator) -> None:
        self.emulator = emulator
        self.ids: set[str] = set()
        self.before_launch: list[Callable[[str, str], None]] = []
        self.after_terminate: list[Callable[[str], None]] = []
        self._moto_terminate: Any = None

    def has_host(self, instance_id: str) -> bool:
        """Whether a host stands behind the instance."""
        return instance_id in self.ids

    # -- the API's side: under the emulator's lock, no driver calls ------------------------------

    def wrap_run(self, original: Any) -> Any:
        """RunInstances: pending now, running when the host runs."""

        def run_instances(backend: Any, image_id: str, *args: Any, **kwargs: Any) -> Any:
            if backend is not self.emulator.ec2:
                return original(backend, image_id, *args, **kwargs)
            self._check_image(backend, image_id, kwargs)
            host_spec.complete_from_template(backend, kwargs)
            reservation = original(backend, image_id, *args, **kwargs)
            for instance in reservation.instances:
                instance.launch_time = self.emulator.clock.now()
                host_spec.apply_template(backend, instance, kwargs)
                self._adopt(instance)
            return reservation

        return run_instances

    def _check_image(self, backend: Any, image_id: str, kwargs: dict[str, Any]) -> None:
        template = kwargs.get("launch_template")
        if not image_id and template:
            image_id = backend._get_template_from_args(template).image_id
        if self.emulator.driver.name == "containers" and image_id not in backend.amis:
            raise InvalidAMIIdError(image_id or "")

    def _adopt(self, instance: Any) -> None:
        if not host_spec.becomes_host(self.emulator.driver.name, instance):
            return
        host_spec.set_address(instance, self.emulator.driver.address_for(instance.private_ip))
        _enter(instance, PENDING)
        self.ids.add(instance.id)
        self.emulator.jobs.submit(instance.id, lambda: self._launch(instance))

    def wrap_terminate(self, original: Any) -> Any:
        """TerminateInstances: shutting-down now, terminated when the host is gone."""
        self._moto_terminate = original

        def terminate(instance: Any) -> Any:
            if not self.has_host(instance.id):
                return original(instance)
            previous = _copy_state(instance)
            if instance.state not in ("shutting-down", "terminated"):
                _enter(instance, SHUTTING_DOWN)
                self.emulator.jobs.submit(instance.id, lambda: self._terminate(instance))
            return previous

        return terminate

    def wrap_stop(self, original: Any) -> Any:
        """StopInstances: stopping now, stopped when the host is."""
        return self._wrap_power(original, STOPPING, self._stop)

    def wrap_start(self, original: Any) -> Any:
        """StartInstances: pending now, running when the host runs again; last launched now.

        https://docs.aws.amazon.com/AWSEC2/latest/APIReference/API_Instance.html (launchTime)
        """

        def start(instance: Any) -> None:
            original(instance)
            instance.launch_time = self.emulator.clock.now()

        return self._wrap_power(start, PENDING, self._start)

    def _wrap_power(self, original: Any, state: tuple[str, int], job: Callable[[Any], None]) -> Any:
        def change(instance: Any) -> Any:
            if not self.has_host(instance.id):
                return original(instance)
            previous = _copy_state(instance)
            original(instance)  # moto's own bookkeeping (interfaces, reasons)
            _enter(instance, state)
            self.emulator.jobs.submit(instance.id, lambda: job(instance))
            return previous

        return change

    def wrap_reboot(self, original: Any) -> Any:
        """RebootInstances: stop and start, state stays running."""

        def reboot(instance: Any) -> None:
            original(instance)
            if self.has_host(instance.id):
                self.emulator.jobs.submit(instance.id, lambda: self._reboot(instance))

        return reboot

    # -- the hosts' side: in a job, the driver called without the lock ---------------------------

    def _launch(self, instance: Any) -> None:
        emulator = self.emulator
        with emulator.lock:
            if instance.state != "pending":
                return
            spec, cidr = host_spec.build(emulator, instance)
        try:
            emulator.driver.ensure_network(cidr)
            for prepare in self.before_launch:
                prepare(spec.instance_id, spec.address)
            emulator.driver.launch(spec)
        except DRIVER_ERRORS as error:
            log.error("host of %s did not start: %s", instance.id, error)
            self._fail(instance, f"host did not start: {error}")
            return
        with emulator.lock:
            if instance.state == "pending":
                _enter(instance, RUNNING)
        emulator.wake()

    def _fail(self, instance: Any, message: str) -> None:
        self._remove(instance)
        with self.emulator.lock:
            instance.state_reason = StateReason(message, "Server.InternalError")
            instance._reason = f"Server.InternalError: {message}"
        self.emulator.wake()

    def _terminate(self, instance: Any) -> None:
        self._remove(instance)
        self.emulator.wake()

    def _remove(self, instance: Any) -> None:
        emulator = self.emulator
        try:
            emulator.driver.terminate(instance.id, graceful_s=TERMINATE_GRACE_S)
        except DRIVER_ERRORS:
            log.exception("host of %s was not removed; `sglocal down` will", instance.id)
        for clean in self.after_terminate:
            clean(instance.id)
        with emulator.lock:
            if instance.state != "terminated":
                self._moto_terminate(instance)
            emulator.elbv2.notify_terminate_instances([instance.id])
            emulator.autoscaling.notify_terminate_instances([instance.id])
            self.ids.discard(instance.id)

    def _stop(self, instance: Any) -> None:
        try:
            self.emulator.driver.stop(instance.id, graceful_s=SHUTDOWN_GRACE_S)
        except DRIVER_ERRORS as error:
            self._fail(instance, f"host did not stop: {error}")
            return
        with self.emulator.lock:
            if instance.state == "stopping":
                _enter(instance, STOPPED)
        self.emulator.wake()

    def _start(self, instance: Any) -> None:
        try:
            self.emulator.driver.start(instance.id)
        except DRIVER_ERRORS as error:
            self._fail(instance, f"host did not start again: {error}")
            return
        with self.emulator.lock:
            if instance.state == "pending":
                _enter(instance, RUNNING)
        self.emulator.wake()

    def _reboot(self, instance: Any) -> None:
        try:
            self.emulator.driver.stop(instance.id, graceful_s=SHUTDOWN_GRACE_S)
            self.emulator.driver.start(instance.id)
        except DRIVER_ERRORS as error:
            self._fail(instance, f"host did not reboot: {error}")

    def watch(self) -> None:
        """A host that ended by itself ends its instance (the EC2 status check).

        https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/terminating-instances.html
        (instance-initiated shutdown stops or terminates, as the instance was told).
        """
        with self.emulator.lock:
            running = [i for i in map(self.emulator.instance, sorted(self.ids)) if i is not None]
            running = [i for i in running if i.state == "running"]
        for instance in running:
            status = self.emulator.driver.status(instance.id)
            if status not in ("stopped", "gone"):
                continue
            self.emulator.jobs.submit(instance.id, partial(self._ended, instance))

    def _ended(self, instance: Any) -> None:
        status = self.emulator.driver.status(instance.id)
        with self.emulator.lock:
            if instance.state != "running" or status not in ("stopped", "gone"):
                return
            stops = instance.instance_initiated_shutdown_behavior != "terminate"
            if status == "stopped" and stops:
                _enter(instance, STOPPED)
                reason = "Client.InstanceInitiatedShutdown"
                instance.state_reason = StateReason(f"{reason}: the host shut down", reason)
                self.emulator.wake()
                return
        log.warning("host of %s is %s; its instance is terminated", instance.id, status)
        self._fail(instance, f"host is {status}")


def _enter(instance: Any, state: tuple[str, int]) -> None:
    instance._state.name, instance._state.code = state


def _copy_state(instance: Any) -> Any:
    return type(instance._state)(instance._state.name, instance._state.code)
