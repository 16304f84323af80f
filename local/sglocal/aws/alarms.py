"""CloudWatch alarms that change state; moto stores them in the state OK.

https://docs.aws.amazon.com/AmazonCloudWatch/latest/monitoring/alarm-evaluation.html
Each alarm is looked at once for every period that has ended. Metric math, percentiles and
composite alarms stay as SetAlarmState leaves them, and alarms act on nothing.
"""

from __future__ import annotations

import json
import logging
from collections.abc import Iterable
from datetime import UTC, datetime
from typing import Any

from moto.cloudwatch.models import Alarm, MetricDatum

from sglocal.aws.alarm_state import COMPARISONS, INSUFFICIENT, Rule, aggregate, evaluate
from sglocal.aws.emulator import Emulator

log = logging.getLogger(__name__)

LOOK_S = 1.0
STATISTICS = ("Sum", "Average", "Minimum", "Maximum", "SampleCount")


def install(emulator: Emulator) -> None:
    """Begin without data, as an alarm does, and look at every alarm whose period ended."""
    emulator.patches.wrap(Alarm, "__init__", _without_data)
    emulator.every("alarms", LOOK_S, lambda: step(emulator))


def _without_data(original: Any) -> Any:
    def __init__(alarm: Any, *args: Any, **kwargs: Any) -> None:  # noqa: N807
        original(alarm, *args, **kwargs)
        if alarm.rule is None:
            alarm.state_value = INSUFFICIENT

    return __init__


def step(emulator: Emulator) -> None:
    """Look at the alarms that are due."""
    now = emulator.clock.now().timestamp()
    with emulator.lock:
        backend = emulator.backend("cloudwatch")
        due = [alarm for alarm in backend.alarms.values() if _due(alarm, now)]
        for alarm in due:
            _look(alarm, backend.metric_data, now)


def _due(alarm: Any, now: float) -> bool:
    """Whether a period ended since the last look; an alarm just made is due at once."""
    if alarm.statistic not in STATISTICS or alarm.comparison_operator not in COMPARISONS:
        return False
    ended = int(now // int(alarm.period))
    if getattr(alarm, "sgl_looked", None) == ended:
        return False
    alarm.sgl_looked = ended
    return True


def _look(alarm: Any, data: Iterable[Any], now: float) -> None:
    periods = int(alarm.evaluation_periods)
    rule = Rule(
        str(alarm.comparison_operator),
        float(alarm.threshold),
        periods,
        int(alarm.datapoints_to_alarm or periods),
        str(alarm.treat_missing_data or "missing"),
    )
    points = _points(alarm, data, rule.span, now)
    state = evaluate(rule, points, str(alarm.state_value))
    if state == alarm.state_value:
        return
    log.info("alarm %s: %s, was %s", alarm.name, state, alarm.state_value)
    shown = [value for value in points if value is not None]
    reason = (
        f"Threshold Crossed: {len(shown)} datapoints {shown} of the last {len(points)} periods "
        f"were checked against {rule.comparison} {rule.threshold:g}."
    )
    alarm.update_state(reason, json.dumps({"recentDatapoints": shown}), state)


def _points(alarm: Any, data: Iterable[Any], count: int, now: float) -> list[float | None]:
    """One aggregated value for each of the `count` periods that ended last, the oldest first."""
    period = int(alarm.period)
    end = now // period * period
    wanted = {(d.name, d.value) for d in alarm.dimensions}
    values: list[list[float]] = [[] for _ in range(count)]
    for datum in data:
        if datum.name != alarm.metric_name or datum.namespace != alarm.namespace:
            continue
        place = count - 1 - int((end - 1e-6 - seconds_of(datum.timestamp)) // period)
        if not 0 <= place < count or seconds_of(datum.timestamp) >= end:
            continue
        if isinstance(datum, MetricDatum) and wanted == {
            (d.name, d.value) for d in datum.dimensions
        }:
            values[place].append(float(datum.value))
    return [aggregate(str(alarm.statistic), each) for each in values]


def seconds_of(timestamp: datetime) -> float:
    """Seconds since the epoch; moto's times without a zone are UTC."""
    aware = timestamp if timestamp.tzinfo else timestamp.replace(tzinfo=UTC)
    return aware.timestamp()
