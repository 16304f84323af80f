"""Rules of routing: fallback chains, externals, and what a router's document can hold."""

from __future__ import annotations

import difflib
import json
from collections.abc import Iterator

from sglctl.config.desired import Desired
from sglctl.config.finding import Finding, KeyPath
from sglctl.config.fleet import Fleet
from sglctl.config.render.router_document import render_router_document
from sglctl.config.routing import Tier
from sglctl.errors import ConfigError

#: https://docs.aws.amazon.com/systems-manager/latest/userguide/parameter-store-advanced-parameters.html
MAX_DOCUMENT_BYTES = 8192


def check_routing(desired: Desired) -> Iterator[Finding]:
    for name, fleet in desired.environment.fleets.items():
        yield from _fallback(desired, name, fleet)
        if fleet.max_in_flight is not None and fleet.queue.size == 0 and not fleet.fallback:
            yield desired.sources["environment"].finding(
                ("fleets", name, "queue", "size"),
                "without a queue or a fallback every request above max_in_flight gets 429",
                "write 1 or more",
                warning=True,
            )
    yield from _externals(desired)
    yield from _document(desired)


def _fallback(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    source = desired.sources["environment"]
    seen = {name}
    for index, tier in enumerate(fleet.fallback):
        here: KeyPath = ("fleets", name, "fallback", index)
        if (tier.fleet is None) == (tier.external is None):
            yield source.finding(here, "give exactly one of fleet and external")
            continue
        yield from _tier(desired, here, fleet, tier)
        target = str(tier.fleet or tier.external)
        if target in seen:
            yield source.finding(here, f"{target!r} is in this chain already", "remove it")
        seen.add(target)


def _tier(desired: Desired, here: KeyPath, fleet: Fleet, tier: Tier) -> Iterator[Finding]:
    source, environment = desired.sources["environment"], desired.environment
    kind = "fleet" if tier.fleet is not None else "external"
    name = str(tier.fleet or tier.external)
    there = [name for name, other in environment.fleets.items() if other.role != "prefill"]
    if kind == "external":
        there = list(environment.externals)
    if name not in there:
        close = difflib.get_close_matches(name, there, n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"{kind}s: {', '.join(there) or 'none'}"
        yield source.finding((*here, kind), f"there is no {kind} {name!r}", fix)
    elif tier.external is not None:
        served = fleet.serve_as or fleet.model
        if served not in environment.externals[name].models:
            yield source.finding(
                (*here, "external"),
                f"external {name!r} has no name for the model {served!r}",
                f"add it to externals.{name}.models",
            )


def _externals(desired: Desired) -> Iterator[Finding]:
    fleets = desired.environment.fleets.values()
    used = {tier.external for fleet in fleets for tier in fleet.fallback}
    for name in desired.environment.externals:
        if name in desired.environment.fleets:
            yield desired.sources["environment"].finding(
                ("externals", name), "a fleet has this name: metrics could not tell them apart",
                "choose another name",
            )  # fmt: skip
        if name not in used:
            yield desired.sources["environment"].finding(
                ("externals", name), "no fleet's fallback names it", "remove it", warning=True
            )


def _document(desired: Desired) -> Iterator[Finding]:
    try:
        document = render_router_document(desired)
    except ConfigError:
        return  # a fleet does not resolve, which has findings of its own
    size = len(json.dumps(document, separators=(",", ":")))
    if size > MAX_DOCUMENT_BYTES:
        yield desired.sources["environment"].finding(
            ("fleets",),
            f"the routers' document has {size} bytes; an SSM parameter holds {MAX_DOCUMENT_BYTES}",
            "leave out what is the default, or split the environment",
        )
