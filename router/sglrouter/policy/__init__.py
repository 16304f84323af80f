"""Which worker gets a request. The caller records the choice (`last_chosen`, load, backlog)."""

from sglrouter.models import Affinity, PolicyName
from sglrouter.policy.base import C, Candidate, Choice, Policy
from sglrouter.policy.simple import LeastLoad, RoundRobin

__all__ = ["C", "Candidate", "Choice", "Policy", "make_policy"]


def make_policy(name: PolicyName, affinity: Affinity | None = None) -> Policy:
    """The policy of this name. KeyError: there is none."""
    policies: dict[PolicyName, type[LeastLoad] | type[RoundRobin]] = {
        "least_load": LeastLoad,
        "round_robin": RoundRobin,
        "prefix_aware": LeastLoad,
    }
    return policies[name]()
