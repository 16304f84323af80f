"""What a document turns into: policies and external APIs, the old ones where nothing changed."""

from __future__ import annotations

from collections.abc import Mapping

from sglrouter.models import Affinity, RouterDocument
from sglrouter.policy import Policy, make_policy
from sglrouter.serving.external import ExternalTarget
from sglrouter.wire.upstream import close_idle


class PolicyMaker:
    """`memory`: the prefix index's table, all fleets' and perhaps other processes' too.

    What it knows outlives the policies on it.
    """

    def __init__(self, memory: memoryview | None) -> None:
        self._memory = memory
        self._affinity: Affinity | None = None

    def policies(self, document: RouterDocument, before: Mapping[str, Policy]) -> dict[str, Policy]:
        """The policy of each fleet; a fleet keeps its own unless another is asked for."""
        affinity, same = document.affinity, self._affinity == document.affinity
        self._affinity = affinity
        found = {}
        for name, route in document.fleets.items():
            wanted = route.policy or document.policy
            if wanted == "prefix_aware" and self._memory is None:
                self._memory = memoryview(bytearray(affinity.index_bytes))
            old = before.get(name)
            if old is None or old.name != wanted or not same:
                old = make_policy(wanted, affinity, self._memory)
            found[name] = old
        return found


def externals_of(
    document: RouterDocument, before: Mapping[str, ExternalTarget]
) -> dict[str, ExternalTarget]:
    """The external APIs by name. Those no longer wanted finish what runs on them."""
    found = {}
    for name, settings in document.externals.items():
        old = before.get(name)
        found[name] = old if old and old.settings == settings else ExternalTarget(name, settings)
    for name, target in before.items():
        if found.get(name) is not target:
            target.removed = True
            close_idle(target)
    return found
