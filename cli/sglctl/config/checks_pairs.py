"""Rules of prefill and decode fleets: halves of a pair that must fit each other."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sglctl.config.desired import Desired, Settings, hardware_of, settings_of
from sglctl.config.finding import Finding
from sglctl.config.fleet import Fleet
from sglctl.config.render.router_document import ROUTED

#: What both halves must have in common, or the KV cache of one means nothing to the other.
_ALIKE = ("quantization", "dtype", "kv_dtype", "context_length")


def check_pairs(desired: Desired) -> Iterator[Finding]:
    fleets = desired.environment.fleets
    paired = {fleet.prefill_for for fleet in fleets.values() if fleet.role == "prefill"}
    for name, fleet in fleets.items():
        yield from _role(desired, name, fleet)
        if fleet.role == "prefill" and fleet.prefill_for is not None:
            yield from _prefill(desired, name, fleet, fleet.prefill_for)
        if fleet.role == "decode" and name not in paired:
            yield desired.sources["environment"].finding(
                ("fleets", name, "role"), "no prefill fleet computes its prompts",
                f"add a fleet with `role: prefill` and `prefill_for: {name}`",
            )  # fmt: skip


def _role(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    source = desired.sources["environment"]
    if fleet.role == "prefill" and fleet.prefill_for is None:
        decode = [n for n, f in desired.environment.fleets.items() if f.role == "decode"]
        yield source.finding(
            ("fleets", name, "role"), "a prefill fleet computes prompts for a decode fleet",
            f"write `prefill_for: {decode[0] if decode else 'NAME'}`",
        )  # fmt: skip
    if fleet.role != "prefill" and fleet.prefill_for is not None:
        yield source.finding(
            ("fleets", name, "prefill_for"), f"has no effect with `role: {fleet.role}`",
            "write `role: prefill`, or remove it",
        )  # fmt: skip
    if fleet.role != "decode" and fleet.disaggregation is not None:
        where = f"on fleet {fleet.prefill_for}" if fleet.prefill_for else "on a decode fleet"
        yield source.finding(
            ("fleets", name, "disaggregation"), "is said once for the pair", f"say it {where}"
        )


def _prefill(desired: Desired, name: str, fleet: Fleet, wanted: str) -> Iterator[Finding]:
    source, fleets = desired.sources["environment"], desired.environment.fleets
    decode = fleets.get(wanted)
    if decode is None:
        close = difflib.get_close_matches(wanted, [n for n in fleets if n != name], n=1)
        fix = f"did you mean {close[0]!r}?" if close else f"fleets: {', '.join(fleets)}"
        yield source.finding(("fleets", name, "prefill_for"), f"there is no fleet {wanted!r}", fix)
        return
    if decode.role != "decode":
        yield source.finding(
            ("fleets", name, "prefill_for"), f"fleet {wanted!r} has `role: {decode.role}`",
            f"write `role: decode` on fleets.{wanted}",
        )  # fmt: skip
    if decode.model != fleet.model or decode.engine != fleet.engine:
        key = "model" if decode.model != fleet.model else "engine"
        yield source.finding(
            ("fleets", name, key), f"fleet {wanted!r} has {getattr(decode, key)}: they share it",
            f"write `{key}: {getattr(decode, key)}`",
        )  # fmt: skip
    else:
        yield from _alike(desired, name, fleet, wanted, decode)
    yield from _routing(desired, name, fleet, wanted)


def _routing(desired: Desired, name: str, fleet: Fleet, wanted: str) -> Iterator[Finding]:
    """Routers know the pair by its decode fleet."""
    defaults = Fleet.model_fields
    for key in ("serve_as", *ROUTED):
        if getattr(fleet, key) != defaults[key].default:
            yield desired.sources["environment"].finding(
                ("fleets", name, key), "requests are routed by the decode fleet's",
                f"say it on fleets.{wanted}, and remove it here",
            )  # fmt: skip


def _alike(
    desired: Desired, name: str, fleet: Fleet, wanted: str, decode: Fleet
) -> Iterator[Finding]:
    mine, theirs = _settings(desired, fleet), _settings(desired, decode)
    if mine is None or theirs is None:
        return  # an instance type or the model is unknown, which has findings of its own
    for key in _ALIKE:
        if getattr(mine, key) != getattr(theirs, key):
            place = "context_length" if key == "context_length" else "instance_types"
            yield desired.sources["environment"].finding(
                ("fleets", name, place),
                f"{key} is {getattr(mine, key)} here and {getattr(theirs, key)} on fleet "
                f"{wanted!r}: their KV caches differ",
                "make them equal",
            )


def _settings(desired: Desired, fleet: Fleet) -> Settings | None:
    model, instance = desired.models.get(fleet.model), desired.instance(fleet.instance_types[0])
    if model is None or instance is None:
        return None
    hardware = hardware_of(model, fleet.instance_types[0], instance)
    return settings_of(fleet, model, hardware) if hardware else None
