"""The lifecycle hooks of the worker's own Auto Scaling group: decide, then call AWS.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/lifecycle-hooks.html
"""

from __future__ import annotations

import logging
from typing import Literal, Protocol

from sglworker.aws import Hook, Membership, NoActionError, Result
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


class GroupApi(Protocol):
    """What `sglworker.aws.Aws` offers."""

    async def membership(self) -> Membership | None: ...

    async def complete(self, group: str, hook: Hook, result: Result) -> None: ...

    async def heartbeat(self, group: str, hook: Hook) -> None: ...


class Hooks:
    """Completes each hook once and keeps it alive until then. `step` is called about each second.

    A call that fails is made again at the next step; the group's own timeout bounds that.
    """

    def __init__(self, aws: GroupApi, started_at: float) -> None:
        self._aws = aws
        self._started_at = started_at
        self._launch_done: set[StateName] = set()
        self._terminate_done = False
        self._beat_at = started_at

    async def step(self, state: StateName, reason: str, terminating: bool, now: float) -> None:
        """One look. `now` is of the clock of `started_at`, in seconds."""
        try:
            if terminating:
                await self._terminate(state, now)
            else:
                await self._launch(state, reason, now)
        except UnreachableError as error:
            logger.warning("lifecycle hook, will try again: %s", error)

    async def _launch(self, state: StateName, reason: str, now: float) -> None:
        result = launch_result(state)
        if state in self._launch_done:
            return
        if result is None:
            await self._beat("launch", _LAUNCH_WAITS, now)
            return
        member = await self._aws.membership()
        step = launch_step(member.lifecycle_state if member else None, now - self._started_at)
        if step == "complete" and member:
            await self._complete(member.group, "launch", result, reason)
        if step != "wait":  # a warm instance meets its launch hook again when it leaves the pool
            self._launch_done.add(state)

    async def _terminate(self, state: StateName, now: float) -> None:
        if self._terminate_done:
            return
        if state != "drained":
            await self._beat("terminate", _TERMINATE_WAITS, now)
            return
        member = await self._aws.membership()
        step = terminate_step(member.lifecycle_state if member else None)
        if step == "complete" and member:
            await self._complete(member.group, "terminate", "CONTINUE", reason="")
        self._terminate_done = step != "wait"

    async def _complete(self, group: str, hook: Hook, result: Result, reason: str) -> None:
        try:
            await self._aws.complete(group, hook, result)
        except NoActionError as error:
            logger.info("%s hook: nothing to complete (%s)", hook, error)
            return
        because = f": {reason}" if reason else ""
        logger.info("%s hook of %s completed with %s%s", hook, group, result, because)

    async def _beat(self, hook: Hook, waits: tuple[str, ...], now: float) -> None:
        if now - self._beat_at < HEARTBEAT_S:
            return
        self._beat_at = now
        member = await self._aws.membership()
        if member and member.lifecycle_state in waits:
            await self._aws.heartbeat(member.group, hook)
