"""The lifecycle hooks of the worker's own Auto Scaling group: decide, then call AWS.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/warm-pool-instance-lifecycle.html
"""

from __future__ import annotations

import logging
import random
from collections.abc import Callable
from dataclasses import dataclass
from typing import Literal, Protocol

from sglworker.aws import Hook, Membership, NoActionError, Result
from sglworker.drain import Trigger
from sglworker.errors import UnreachableError
from sglworker.models import StateName

logger = logging.getLogger(__name__)

#: A hook's heartbeat timeout must be longer than twice this.
HEARTBEAT_S = 30.0
#: How long an instance may run before its group knows it.
_MEMBERSHIP_GRACE_S = 120.0
_LAUNCH_WAITS = ("Pending:Wait", "Warmed:Pending:Wait")
_LAUNCH_STARTS = ("Pending", "Warmed:Pending")
_TERMINATE_WAITS = ("Terminating:Wait", "Warmed:Terminating:Wait")
_TERMINATE_STARTS = ("Terminating", "Warmed:Terminating")
_POOL_WAIT = "Warmed:Pending:Wait"
#: Drained for these, the instance is of no use: its group is told to replace it.
_REPLACED_AFTER = (Trigger.REBALANCE, Trigger.MAINTENANCE)
_FIRST_PAUSE_S, _LONGEST_PAUSE_S = 1.0, 30.0

Step = Literal["complete", "wait", "nothing"]


def launch_step(lifecycle_state: str | None, age_s: float) -> Step:
    """What a worker that is up (or failed) does about its launch hook.

    `lifecycle_state` None: the group does not know the instance (yet); `age_s` since boot.
    """
    if lifecycle_state in _LAUNCH_WAITS:
        return "complete"
    if lifecycle_state in _LAUNCH_STARTS or (
        lifecycle_state is None and age_s < _MEMBERSHIP_GRACE_S
    ):
        return "wait"
    return "nothing"


def terminate_step(lifecycle_state: str | None) -> Step:
    """What a drained worker that its group terminates does about its terminate hook."""
    if lifecycle_state in _TERMINATE_WAITS:
        return "complete"
    # Metadata may tell the target before the group's own state follows.
    return "wait" if lifecycle_state in (*_TERMINATE_STARTS, "InService") else "nothing"


def launch_result(state: StateName) -> Result | None:
    """None while it is open whether the worker will serve."""
    if state in ("ready", "warmed"):
        return "CONTINUE"
    return "ABANDON" if state == "failed" else None


@dataclass(frozen=True)
class View:
    """What hooks depend on. `trigger`: of the drain that is on; `busy`: running and queued."""

    state: StateName
    reason: str = ""
    trigger: Trigger | None = None
    busy: int = 0


class GroupApi(Protocol):
    """What `sglworker.aws.Aws` offers."""

    async def membership(self) -> Membership | None: ...

    async def complete(self, group: str, hook: Hook, result: Result) -> None: ...

    async def heartbeat(self, group: str, hook: Hook) -> None: ...

    async def set_unhealthy(self) -> None: ...


class Backoff:
    """Growing pauses after failures, with jitter: throttled calls of a whole fleet spread out.

    https://docs.aws.amazon.com/general/latest/gr/api-retries.html
    """

    def __init__(self, uniform: Callable[[float, float], float] = random.uniform) -> None:
        self._uniform = uniform
        self._failures = 0
        self._until = float("-inf")

    def waits(self, now: float) -> bool:
        return now < self._until

    def failed(self, now: float) -> float:
        """The pause in seconds; half to all of 1, 2, 4 … at most 30."""
        longest = min(_LONGEST_PAUSE_S, _FIRST_PAUSE_S * 2.0 ** min(self._failures, 10))
        self._failures += 1
        pause = self._uniform(longest / 2, longest)
        self._until = now + pause
        return pause

    def reset(self) -> None:
        self._failures, self._until = 0, float("-inf")


class Hooks:
    """Completes each hook once and keeps it alive until then. `step` is called about each second.

    A call that fails is made again after a pause; the group's own timeout bounds that.
    """

    def __init__(self, aws: GroupApi, started_at: float, backoff: Backoff | None = None) -> None:
        self._aws = aws
        self._started_at = started_at
        self._backoff = backoff or Backoff()
        self._seen: tuple[StateName, Trigger | None] | None = None
        self._settled = self._looked = False
        self._group = ""
        self._beat_at = started_at

    async def step(self, view: View, now: float) -> None:
        """One look. `now` is of the clock of `started_at`, in seconds."""
        if (view.state, view.trigger) != self._seen:  # something new is to be told, at once
            self._seen, self._settled, self._looked = (view.state, view.trigger), False, False
            self._backoff.reset()
        if self._settled or self._backoff.waits(now):
            return
        try:
            await self._act(view, now)
            self._backoff.reset()
        except UnreachableError as error:
            pause = self._backoff.failed(now)
            logger.warning("lifecycle hook, again in %.1f s: %s", pause, error)

    async def _act(self, view: View, now: float) -> None:
        result = launch_result(view.state)
        if view.state == "drained" and view.trigger is Trigger.WARM_POOL:
            await self._beat("terminate", (_POOL_WAIT,), now)  # its engine stops
        elif view.state == "drained":
            self._settled = await self._drained(view)
        elif view.state == "draining":
            await self._keep_draining(view, now)
        elif result is None:
            await self._beat("launch", _LAUNCH_WAITS, now)
        else:
            self._settled = await self._launched(result, view, now)

    async def _launched(self, result: Result, view: View, now: float) -> bool:
        member = await self._membership()
        lifecycle = member.lifecycle_state if member else None
        step = launch_step(lifecycle, now - self._started_at)
        if step == "complete" and member:
            # Where a scale-in returned the instance to the pool its terminate hook holds it.
            hooks: tuple[Hook, ...] = ("launch", "terminate")
            await self._complete(hooks if lifecycle == _POOL_WAIT else hooks[:1], result, view)
        elif step == "nothing" and view.state == "failed" and lifecycle == "InService":
            await self._aws.set_unhealthy()
            logger.error(
                "told group %s that this worker is unhealthy: %s", self._group, view.reason
            )
        return step != "wait"

    async def _drained(self, view: View) -> bool:
        if view.trigger in _REPLACED_AFTER:
            await self._aws.set_unhealthy()
            logger.info("told the group to replace this worker: %s", view.reason)
            return True
        if view.trigger is not Trigger.TERMINATE:
            return True
        if self._group and await self._complete(("terminate",), "CONTINUE", view):
            return True
        member = await self._membership()
        step = terminate_step(member.lifecycle_state if member else None)
        if step == "complete":
            await self._complete(("terminate",), "CONTINUE", view)
        return step != "wait"

    async def _keep_draining(self, view: View, now: float) -> None:
        if not self._looked:  # so that one call, of a process that runs, is enough in the end
            await self._membership()
            self._looked = True
        if view.busy:
            await self._beat("terminate", (*_TERMINATE_WAITS, _POOL_WAIT), now)

    async def _membership(self) -> Membership | None:
        member = await self._aws.membership()
        if member:
            self._group = member.group
        return member

    async def _complete(self, hooks: tuple[Hook, ...], result: Result, view: View) -> bool:
        """Complete the first of these hooks that waits; False when none does."""
        because = f": {view.reason}" if view.reason else ""
        for hook in hooks:
            try:
                await self._aws.complete(self._group, hook, result)
            except NoActionError as error:
                logger.info("%s hook: nothing to complete (%s)", hook, error)
                continue
            logger.info("%s hook of %s completed with %s%s", hook, self._group, result, because)
            return True
        return False

    async def _beat(self, hook: Hook, waits: tuple[str, ...], now: float) -> None:
        if now - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = now
        member = await self._membership()
        if member and member.lifecycle_state in waits:
            await self._aws.heartbeat(member.group, hook)
