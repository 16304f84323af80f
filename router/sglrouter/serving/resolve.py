"""Which fleet serves a request, and in which priority class. Pure."""

from __future__ import annotations

from collections.abc import Mapping

from sglrouter.access.keys import KeyInfo
from sglrouter.fleet.fleets import Fleet
from sglrouter.fleet.workers import WorkerSet
from sglrouter.models import Priority
from sglrouter.serving.admission import CLASSES
from sglrouter.wire.replies import Failure

_BY_NAME: Mapping[bytes, Priority] = {name.encode(): name for name in CLASSES}


def priority_of(header: bytes, key: KeyInfo) -> Priority:
    """The class asked for, at most the key's; a request without a key may ask for any."""
    wanted = _BY_NAME.get(header.lower())
    if wanted is None:
        return key.priority
    if not key.name or CLASSES.index(wanted) >= CLASSES.index(key.priority):
        return wanted
    return key.priority


def resolve(workers: WorkerSet, model: str | None) -> tuple[Fleet, str] | Failure:
    """The fleet that serves a model, and the LoRA adapter that a name `base:adapter` asks for."""
    if model is None:
        if len(workers.fleets) == 1:
            return next(iter(workers.fleets.values())), ""
        message = "Several fleets are served here: say which `model` is meant."
        return Failure(400, "model_required", message, "model")
    name = workers.models.get(model)
    if name is not None:
        return workers.fleets[name], ""
    found = _with_adapter(workers, model)
    if found is not None:
        return found
    if workers.any_model is not None:
        return workers.fleets[workers.any_model], ""
    message = f"The model `{model[:200]}` does not exist."
    return Failure(404, "model_not_found", message, "model")


def _with_adapter(workers: WorkerSet, model: str) -> tuple[Fleet, str] | Failure | None:
    """SGLang splits the same way: after the served name, which may hold colons itself."""
    at = model.rfind(":")
    while at > 0:
        base, adapter = model[:at], model[at + 1 :]
        name = workers.models.get(base)
        if name is not None:
            fleet = workers.fleets[name]
            if adapter and adapter in fleet.adapters:
                return fleet, adapter
            message = f"No worker of `{base[:200]}` has the adapter `{adapter[:200]}`."
            return Failure(404, "model_not_found", message, "model")
        at = model.rfind(":", 0, at)
    return None
