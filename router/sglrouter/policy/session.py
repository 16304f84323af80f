"""A conversation stays on one worker: consistent hashing with bounded loads.

Rendezvous hashing over worker ids, so that only a lost worker's conversations move; a worker
above the bound is passed over for the conversation's next one (arXiv 1608.01350).
"""

from __future__ import annotations

from collections.abc import Sequence

from xxhash import xxh3_64_intdigest

from sglrouter.models import PolicyName
from sglrouter.policy.base import C, Choice, Request
from sglrouter.policy.simple import Stateless

#: A worker is full at this share of the mean load, and this many requests more.
BOUND_FACTOR, BOUND_EXTRA = 1.25, 1


class Session(Stateless):
    """Reasons: `session`, or `session_full` where the conversation's own worker was full."""

    name: PolicyName = "session"

    def choose(self, request: Request, workers: Sequence[C]) -> Choice[C]:
        key = _key(request)
        ranked = sorted(workers, key=lambda w: xxh3_64_intdigest(w.id.encode(), key), reverse=True)
        mean = sum(worker.load for worker in workers) / len(workers)
        bound = BOUND_FACTOR * mean + BOUND_EXTRA
        # The least loaded is never above the mean, so there is always one.
        worker = next(worker for worker in ranked if worker.load <= bound)
        reason = "session" if worker is ranked[0] else "session_full"
        return Choice(worker, reason, 0, request.prompt.tokens)


def _key(request: Request) -> int:
    """The session header, else the body's `user`, else the conversation's start."""
    if request.session:
        return xxh3_64_intdigest(request.session)
    user = request.document.get("user") if request.document else None
    if isinstance(user, str) and user:
        return xxh3_64_intdigest(user.encode("utf-8", "surrogatepass"))
    return request.prompt.conversation
