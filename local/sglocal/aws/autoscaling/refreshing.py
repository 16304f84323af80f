"""One look at the instance refresh of a group: what the plan says is done here.

https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-overview.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/instance-refresh-rollback.html
https://docs.aws.amazon.com/autoscaling/ec2/userguide/cancel-instance-refresh.html
Where AWS documents no wording, status reasons are ours. No pause follows the last checkpoint.
"""

from __future__ import annotations

import logging
from typing import Any

from sglocal.aws.autoscaling import causes, configuration
from sglocal.aws.autoscaling.leaving import retire
from sglocal.aws.autoscaling.lifecycle import State
from sglocal.aws.autoscaling.records import all_members, find_member, record_of, suspended
from sglocal.aws.autoscaling.refresh import Refresh
from sglocal.aws.autoscaling.refresh_plan import Decision, RefreshView, Stock, decide
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

# Without any progress it fails after an hour; it replaces for 14 days at most.
STUCK_S = 3600.0
LONGEST_S = 14 * 86400.0
_PROCESSES = ("InstanceRefresh", "Launch", "Terminate")


def begin(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    """Take stock of what is to be replaced."""
    wanted = refresh.desired or configuration.own(group)
    skip = refresh.preferences.skip_matching
    members = all_members(group)
    refresh.known = frozenset(s.instance.id for s in members)
    refresh.outdated = frozenset(s.instance.id for s in members if not (skip and wanted.fits(s)))
    decision = decide(_view(emulator, group, refresh))
    refresh.total, refresh.began_at = decision.left, emulator.clock()
    if group.warm_pool is not None:
        refresh.warm_total = decision.warm_left
    refresh.measure(decision)


def begin_rollback(emulator: Emulator, group: Any, refresh: Refresh, reason: str) -> None:
    """What was launched since the refresh began is outdated now."""
    refresh.begin_rollback(emulator.clock.now(), emulator.clock(), reason)
    members = {s.instance.id for s in all_members(group)}
    refresh.outdated = frozenset(members - refresh.known)
    refresh.known, refresh.began_at = frozenset(members), emulator.clock()
    decision = decide(_view(emulator, group, refresh))
    refresh.back_total = decision.left + decision.warm_left
    log.info("group %s: refresh %s rolls back: %s", group.name, refresh.refresh_id, reason)


def advance(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    """The refresh's next step."""
    if refresh.status == "Pending":
        refresh.status = "InProgress"
    decision = decide(_view(emulator, group, refresh))
    refresh.measure(decision)
    if refresh.status == "Cancelling":
        _cancel(emulator, group, refresh)
        return
    if why := _failure(emulator, refresh):
        _fail(emulator, group, refresh, why)
    elif refresh.status == "Baking":
        _bake(emulator, group, refresh)
    elif decision.done or (decision.reached and refresh.ends_early):
        _complete(emulator, group, refresh)
    elif not _paused(emulator, refresh, decision):
        _replace(emulator, group, refresh, decision)


def _replace(emulator: Emulator, group: Any, refresh: Refresh, decision: Decision) -> None:
    now = emulator.clock()
    if stopped := [p for p in _PROCESSES if suspended(group, p)]:
        refresh.reason, refresh.surge = f"The {stopped[0]} process is suspended.", 0
        return
    progress = (decision.left, decision.warm_left, decision.replaced)
    if decision.moving or progress != refresh.progress:
        refresh.moved_at, refresh.progress = now, progress
    if refresh.rollback is None:
        refresh.reason = decision.reason
    refresh.surge = decision.surge
    for instance_id in decision.replace:
        state = find_member(group, instance_id)
        cause = causes.refreshed(emulator.clock.now(), instance_id)
        retire(emulator, group, state, cause, skip_hooks=False)


def _paused(emulator: Emulator, refresh: Refresh, decision: Decision) -> bool:
    """Whether a checkpoint holds the refresh; its delay begins when it is reached."""
    steps = refresh.preferences.checkpoints
    if refresh.last_stage or not decision.reached:
        return False
    now = emulator.clock()
    if refresh.paused_until is None:
        refresh.paused_until = now + refresh.preferences.checkpoint_delay_s
        refresh.reason = f"Checkpoint of {steps[refresh.passed]} percent reached."
        refresh.surge = 0
    refresh.moved_at = now
    if now < refresh.paused_until:
        return True
    refresh.passed, refresh.paused_until = refresh.passed + 1, None
    return True  # the next look decides with the next checkpoint


def _failure(emulator: Emulator, refresh: Refresh) -> str:
    """Why the refresh cannot go on; empty while it can."""
    if not refresh.rolling_back:
        alarms = emulator.backend("cloudwatch").alarms
        for name in refresh.preferences.alarms:
            if name not in alarms:
                return f"The CloudWatch alarm {name} does not exist."
            if alarms[name].state_value == "ALARM":
                return f"The CloudWatch alarm {name} is in the ALARM state."
    now = emulator.clock()
    if now - refresh.began_at >= LONGEST_S:
        return "The instance refresh did not complete within 14 days."
    if refresh.status != "Baking" and now - refresh.moved_at >= STUCK_S:
        return f"No progress for an hour. {refresh.reason}".strip()
    return ""


def _fail(emulator: Emulator, group: Any, refresh: Refresh, why: str) -> None:
    log.error("group %s: refresh %s failed: %s", group.name, refresh.refresh_id, why)
    if refresh.rolling_back:
        refresh.finish(emulator.clock.now(), "RollbackFailed", why)
    elif refresh.preferences.auto_rollback:
        begin_rollback(emulator, group, refresh, f"Automatic rollback: {why}")
    else:
        refresh.finish(emulator.clock.now(), "Failed", why)


def _complete(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    if not refresh.rolling_back and refresh.preferences.bake_s > 0:
        refresh.status, refresh.reason, refresh.surge = "Baking", "", 0
        refresh.bakes_until = emulator.clock() + refresh.preferences.bake_s
        return
    _succeed(emulator, group, refresh)


def _bake(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    if refresh.bakes_until is not None and emulator.clock() >= refresh.bakes_until:
        _succeed(emulator, group, refresh)


def _succeed(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    now = emulator.clock.now()
    if refresh.rolling_back:
        refresh.finish(now, "RollbackSuccessful", refresh.reason)
        return
    if refresh.desired is not None:
        configuration.adopt(group, refresh.desired)
    refresh.finish(now, "Successful")
    log.info("group %s: refresh %s succeeded", group.name, refresh.refresh_id)


def _cancel(emulator: Emulator, group: Any, refresh: Refresh) -> None:
    """Cancelled once what was under way has ended, if that is waited for."""
    refresh.surge = 0
    members = [s for s in all_members(group) if s.instance.id not in refresh.known]
    leaving = [s for s in all_members(group) if "Terminating" in s.lifecycle_state]
    under_way = leaving or any("Pending" in s.lifecycle_state for s in members)
    if not (under_way and refresh.wait_for_instances):
        refresh.finish(emulator.clock.now(), "Cancelled", "Cancelled due to user request.")


def _view(emulator: Emulator, group: Any, refresh: Refresh) -> RefreshView:
    now = emulator.clock()
    return RefreshView(
        desired=int(group.desired_capacity or 0),
        members=_stock(group.instance_states, refresh, now),
        warm=_stock(record_of(group).warm, refresh, now),
        preferences=refresh.preferences,
        checkpoint=refresh.checkpoint(),
    )


def _stock(states: list[Any], refresh: Refresh, now: float) -> list[Stock]:
    """Oldest first."""
    ordered = sorted(states, key=lambda s: s.sgl.launched_at)
    return [_one(state, refresh, now) for state in ordered]


def _one(state: Any, refresh: Refresh, now: float) -> Stock:
    fresh = state.instance.id not in refresh.known
    since = state.sgl.in_service_at
    warm_up = refresh.preferences.warm_up_s if fresh else 0.0
    serves = state.lifecycle_state == State.IN_SERVICE and since is not None
    return Stock(
        instance_id=state.instance.id,
        state=state.lifecycle_state,
        outdated=state.instance.id in refresh.outdated,
        fresh=fresh,
        ready=serves and state.health_status == "Healthy" and now - since >= warm_up,
        protected=bool(state.protected_from_scale_in),
    )
