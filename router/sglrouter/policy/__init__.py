"""Which worker gets a request. The caller records the choice (`last_chosen`, load, backlog)."""

from sglrouter.models import Affinity, PolicyName
from sglrouter.policy.base import C, Candidate, Choice, Policy, Request
from sglrouter.policy.index import PrefixIndex
from sglrouter.policy.prefix_aware import PrefixAware
from sglrouter.policy.session import Session
from sglrouter.policy.simple import LeastLoad, PowerOfTwo, RoundRobin

__all__ = ["C", "Candidate", "Choice", "Policy", "PrefixIndex", "Request", "make_policy"]


def make_policy(
    name: PolicyName, affinity: Affinity | None = None, memory: memoryview | None = None
) -> Policy:
    """The policy of this name. `memory`: a zeroed table that other processes' policies share,
    and other fleets' may (slots are unique, and prompts of different models differ); None: its
    own, of `affinity.index_bytes`.
    """
    affinity = affinity or Affinity()
    if name == "prefix_aware":
        return PrefixAware(PrefixIndex(memory, affinity.index_bytes), affinity.spill_tokens)
    if name == "session":
        return Session()
    simple: dict[PolicyName, type[LeastLoad] | type[RoundRobin] | type[PowerOfTwo]] = {
        "least_load": LeastLoad,
        "round_robin": RoundRobin,
        "power_of_two": PowerOfTwo,
    }
    return simple[name]()
