"""CloudWatch alarms that change state and carry out scaling policies; moto only stores them.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
Each alarm is looked at once for every period that has ended. Percentiles and composite alarms
stay as SetAlarmState leaves them; of an alarm's actions only scaling policies are carried out,
once a minute for as long as the state lasts:
https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-actions.html
"""

from __future__ import annotations

import json
import logging
from collections.abc import Callable
from typing import Any

from moto.cloudwatch.models import Alarm, CloudWatchBackend

from sglocal.aws.alarm_state import ALARM, COMPARISONS, INSUFFICIENT, OK, Rule, evaluate
from sglocal.aws.emulator import Emulator
from sglocal.aws.metric_math import MetricMathError
from sglocal.aws.metric_series import Metric, Query, Window, result

log = logging.getLogger(__name__)

LOOK_S = 1.0
REPEAT_S = 60.0
STATISTICS = ("Sum", "Average", "Minimum", "Maximum", "SampleCount")

_STATE = (
    "state_value",
    "state_reason",
    "state_reason_data",
    "state_updated_timestamp",
    "history",
    "sgl_acted",
    "sgl_newest",
)

# Carries out one action of an alarm: its ARN, the alarm, the newest data point.
Act = Callable[[str, Any, float | None], None]


def install(emulator: Emulator, act: Act) -> None:
    """Begin without data, as an alarm does, and look at every alarm whose period ended."""
    emulator.patches.wrap(Alarm, "__init__", _without_data)
    emulator.patches.wrap(CloudWatchBackend, "put_metric_alarm", _keeping_the_state)
    emulator.every("alarms", LOOK_S, lambda: step(emulator, act))


def _without_data(original: Any) -> Any:
    def __init__(alarm: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(alarm, *args, **kwargs)
        if alarm.rule is None:
            alarm.state_value = INSUFFICIENT
        alarm.sgl_newest = None
        alarm.sgl_acted = (alarm.state_value, 0.0)

    return __init__


def _keeping_the_state(original: Any) -> Any:
    """An update leaves the state as it is.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_PutMetricAlarm.html
    """

    def put_metric_alarm(backend: Any, name: str, *args: Any, **kwargs: Any) -> Any:
        before = backend.alarms.get(name)
        made = original(backend, name, *args, **kwargs)
        for field in _STATE if before is not None else ():
            setattr(made, field, getattr(before, field))
        return made

    return put_metric_alarm


def step(emulator: Emulator, act: Act) -> None:
    """Carry out what the states ask for, then look at the alarms that are due."""
    now = emulator.clock.now().timestamp()
    with emulator.lock:
        backend = emulator.backend("cloudwatch")
        for alarm in list(backend.alarms.values()):
            # Before the look: a state set by hand may end with it.
            _act(alarm, now, act)
            if _due(alarm, now):
                _look(alarm, backend.metric_data, now)
                _act(alarm, now, act)


def _due(alarm: Any, now: float) -> bool:
    """Whether a period ended since the last look; an alarm just made is due at once."""
    if alarm.rule is not None or alarm.comparison_operator not in COMPARISONS:
        return False
    if any(q.metric and q.metric.statistic not in STATISTICS for q in _queries(alarm)):
        return False
    ended = int(now // _period(alarm))
    if getattr(alarm, "sgl_looked", None) == ended:
        return False
    alarm.sgl_looked = ended
    return True


def _look(alarm: Any, data: list[Any], now: float) -> None:
    periods = int(alarm.evaluation_periods)
    rule = Rule(
        str(alarm.comparison_operator),
        float(alarm.threshold),
        periods,
        int(alarm.datapoints_to_alarm or periods),
        str(alarm.treat_missing_data or "missing"),
    )
    window = Window(_period(alarm), rule.span, now)
    try:
        points = result(_queries(alarm), data, window)
    except MetricMathError as error:
        log.error("alarm %s: %s", alarm.name, error)
        return
    shown = [value for value in points if value is not None]
    alarm.sgl_newest = shown[-1] if shown else None
    state = evaluate(rule, points, str(alarm.state_value))
    if state == alarm.state_value:
        return
    log.info("alarm %s: %s, was %s", alarm.name, state, alarm.state_value)
    reason = (
        f"Threshold Crossed: {len(shown)} datapoints {shown} of the last {len(points)} periods "
        f"were checked against {rule.comparison} {rule.threshold:g}."
    )
    alarm.update_state(reason, json.dumps({"recentDatapoints": shown}), state)


def _act(alarm: Any, now: float, act: Act) -> None:
    """The actions of the alarm's state: when it is new, and every minute that it lasts."""
    state, since = alarm.sgl_acted
    changed = state != alarm.state_value
    if not changed and now - since < REPEAT_S:
        return
    alarm.sgl_acted = (alarm.state_value, now)
    if not alarm.actions_enabled:
        return
    actions = {
        ALARM: alarm.alarm_actions,
        OK: alarm.ok_actions,
        INSUFFICIENT: alarm.insufficient_data_actions,
    }
    value = _said(alarm) if changed else alarm.sgl_newest
    for action in actions[alarm.state_value]:
        act(str(action), alarm, value)


def _said(alarm: Any) -> float | None:
    """The newest data point that the change of state gives: SetAlarmState may bring its own.

    https://docs.aws.amazon.com/AmazonCloudWatch/latest/APIReference/API_SetAlarmState.html
    """
    said = json.loads(alarm.state_reason_data or "{}")
    recent = said.get("recentDatapoints") if isinstance(said, dict) else None
    return float(recent[-1]) if recent else alarm.sgl_newest


def _period(alarm: Any) -> int:
    """Seconds; with metric math that of the queries."""
    if not alarm.metric_data_queries:
        return int(alarm.period)
    stats = (q.metric_stat for q in alarm.metric_data_queries if q.metric_stat is not None)
    periods = (q.period for q in alarm.metric_data_queries)
    return int(next((p for p in (*(s.period for s in stats), *periods) if p), 60))


def _queries(alarm: Any) -> list[Query]:
    if alarm.metric_data_queries:
        return [_query(query) for query in alarm.metric_data_queries]
    dimensions = frozenset((d.name, d.value) for d in alarm.dimensions)
    metric = Metric(alarm.namespace, alarm.metric_name, dimensions, str(alarm.statistic))
    return [Query("m", metric, "", returned=True)]


def _query(query: Any) -> Query:
    returned = query.return_data not in (False, "false")
    if query.metric_stat is None:
        return Query(query.id, None, str(query.expression), returned)
    wanted = query.metric_stat.metric
    dimensions = frozenset((d.name, d.value) for d in wanted.dimensions)
    metric = Metric(wanted.namespace, wanted.metric_name, dimensions, str(query.metric_stat.stat))
    return Query(query.id, metric, "", returned)
