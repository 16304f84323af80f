"""Rules of the environment itself: release, network, router, tags, names."""

from __future__ import annotations

import difflib
import ipaddress
import re
from collections.abc import Iterator

from sglctl.config.desired import Desired
from sglctl.config.finding import Finding, KeyPath

#: CIDR prefixes that hold our subnets (terraform/modules/network says why).
SHORTEST_PREFIX, LONGEST_PREFIX = 16, 22
#: The widest range that may reach the admin port.
WIDEST_ADMIN_PREFIX = 8
#: Instance metadata, where agents read tags, allows these only in keys.
#: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/work-with-tags-in-IMDS.html
TAG_KEY = re.compile(r"^[A-Za-z0-9+=.,_:@-]+$")


def check_environment(desired: Desired) -> Iterator[Finding]:
    yield from _release(desired)
    yield from _network(desired)
    yield from _router(desired)
    yield from _tags(desired)
    yield from _served_names(desired)
    yield from _one_device_per_model(desired)


def _release(desired: Desired) -> Iterator[Finding]:
    source, wanted = desired.sources["environment"], desired.environment.release
    if desired.release is None:
        close = difflib.get_close_matches(wanted, desired.known_releases, n=1)
        there = ", ".join(desired.known_releases) or "none"
        fix = f"did you mean '{close[0]}'?" if close else f"releases: {there}"
        yield source.finding(("release",), f"there is no release {wanted!r}", fix)
        return
    release = desired.sources["release"]
    for kind in ("worker", "router"):
        pin = getattr(desired.release.base_images, kind)
        if any(sign in pin.name for sign in "*?"):
            yield release.finding(
                ("base_images", kind, "name"), "a wildcard is not a pin", "write the exact name"
            )


def _network(desired: Desired) -> Iterator[Finding]:
    source, network = desired.sources["environment"], desired.environment.network
    if network.existing is None:
        yield from _cidr(desired, ("network", "cidr"), network.cidr)
        if network.nat == "none" and not desired.is_local:
            yield source.finding(
                ("network", "nat"),
                "hosts in private subnets cannot reach AWS without NAT or endpoints",
                "write `single` or `per_zone`",
                warning=True,
            )
        return
    here: KeyPath = ("network", "existing")
    if source.places.get(("network", "cidr")):
        yield source.finding(
            ("network", "cidr"), "has no effect beside `existing`", "remove it", warning=True
        )
    for key in ("public_subnet_ids", "private_subnet_ids"):
        ids = getattr(network.existing, key)
        if len(set(ids)) < 2:
            yield source.finding(
                (*here, key), "names fewer than two different subnets", "name two, in two zones"
            )


def _cidr(desired: Desired, path: KeyPath, text: str) -> Iterator[Finding]:
    source = desired.sources["environment"]
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError as error:
        yield source.finding(path, f"not a network: {error}")
        return
    if not SHORTEST_PREFIX <= block.prefixlen <= LONGEST_PREFIX:
        yield source.finding(
            path,
            f"/{block.prefixlen} is not between /{SHORTEST_PREFIX} and /{LONGEST_PREFIX}",
            "AWS allows /16 at most, and the subnets need room",
        )
    if not block.is_private:
        yield source.finding(
            path, f"{text} is not a private range", "use 10/8, 172.16/12 or 192.168/16"
        )


def _router(desired: Desired) -> Iterator[Finding]:
    source, router = desired.sources["environment"], desired.environment.router
    if not desired.is_local:
        if router.tls is None:
            yield source.finding(
                ("router", "tls"),
                "required: only `target: local` may serve plain HTTP",
                "write `tls: {domain: llm.example.com}`",
            )
        if router.count < 2:
            yield source.finding(
                ("router", "count"), "one router is a single point of failure", "write 2 or more"
            )
    elif desired.environment.account is not None:
        yield source.finding(
            ("account",), "guards nothing on this machine", "remove it", warning=True
        )
    if router.tls and (router.tls.certificate_arn is None) == (router.tls.domain is None):
        yield source.finding(("router", "tls"), "give exactly one of certificate_arn and domain")
    if not router.api_keys and desired.name != "local":
        yield source.finding(
            ("router", "api_keys"), "only the environment `local` may serve without keys",
            "write true",
        )  # fmt: skip
    if router.instance_type not in desired.instances.instances:
        yield unknown_instance(desired, ("router", "instance_type"), router.instance_type)
    if not router.allowed_cidrs:
        yield source.finding(("router", "allowed_cidrs"), "nobody may connect", "name a network")
    for key in ("allowed_cidrs", "admin_cidrs"):
        for index, text in enumerate(getattr(router, key)):
            yield from _reachable(desired, ("router", key, index), text)
    if router.limits.drain_s > router.deregistration_delay_s:
        yield source.finding(
            ("router", "deregistration_delay_s"),
            f"shorter than the routers' drain ({router.limits.drain_s} s): the load balancer "
            "cuts streams first",
            f"write {router.limits.drain_s} or more",
        )


def _reachable(desired: Desired, path: KeyPath, text: str) -> Iterator[Finding]:
    source = desired.sources["environment"]
    try:
        block = ipaddress.IPv4Network(text)
    except ValueError as error:
        yield source.finding(path, f"not a network: {error}")
        return
    if block.prefixlen < WIDEST_ADMIN_PREFIX and path[1] == "admin_cidrs":
        yield source.finding(
            path, "opens the admin port to the internet", "name the operators' network"
        )


def unknown_instance(desired: Desired, path: KeyPath, name: str) -> Finding:
    close = difflib.get_close_matches(name, desired.instances.instances, n=1)
    fix = f"did you mean '{close[0]}'?" if close else "add it to config/instances.yaml"
    return desired.sources["environment"].finding(
        path, f"instance type {name!r} is not in the catalogue", fix
    )


def _tags(desired: Desired) -> Iterator[Finding]:
    source = desired.sources["environment"]
    places: list[tuple[KeyPath, dict[str, str]]] = [(("tags",), desired.environment.tags)]
    places += [(("fleets", n, "tags"), f.tags) for n, f in desired.environment.fleets.items()]
    for path, tags in places:
        for key in tags:
            if key.lower().startswith(("aws:", "sglctl:")) or key == "Name":
                yield source.finding((*path, key), "this tag is written by AWS or sglctl")
            elif not TAG_KEY.match(key):
                yield source.finding(
                    (*path, key), "a tag's key may hold letters, digits and + = . , _ : @ - only"
                )


def _served_names(desired: Desired) -> Iterator[Finding]:
    owner: dict[str, str] = {}
    for name, fleet in desired.environment.fleets.items():
        if fleet.role == "prefill":
            continue  # clients ask for its decode fleet
        served = fleet.serve_as or fleet.model
        if served in owner:
            key = "serve_as" if fleet.serve_as else "model"
            yield desired.sources["environment"].finding(
                ("fleets", name, key),
                f"fleet {owner[served]!r} serves {served!r} already: the router could not choose",
                "give one of them another `serve_as`",
            )
        owner.setdefault(served, name)


def _one_device_per_model(desired: Desired) -> Iterator[Finding]:
    """An image is named after its model, and holds the engine for one kind of device."""
    device: dict[str, bool] = {}
    for name, fleet in desired.environment.fleets.items():
        for index, instance_type in enumerate(fleet.instance_types):
            instance = desired.instance(instance_type)
            if instance is None:
                continue
            has_gpu = instance.gpus > 0
            if device.setdefault(fleet.model, has_gpu) != has_gpu:
                yield desired.sources["environment"].finding(
                    ("fleets", name, "instance_types", index),
                    f"{fleet.model} runs with and without GPU in this environment, and there is "
                    "one image per model",
                    "choose one kind",
                )
