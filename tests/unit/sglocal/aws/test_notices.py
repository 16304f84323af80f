"""Notices: who gets them, what is due when, and the routes that give them."""

from __future__ import annotations

import threading
from types import SimpleNamespace
from typing import Any

import pytest

from sglocal.aws.jobs import SteppedJobs
from sglocal.aws.notices import Notices
from sglocal.clock import VirtualClock
from sglocal.errors import LocalError
from sglocal.notice_routes import NoticeRoutes


class Instance:
    """As much of moto's instance as notices need."""

    def __init__(self, instance_id: str, lifecycle: str | None) -> None:
        self.id, self.lifecycle, self.state = instance_id, lifecycle, "running"
        self.availability_zone = "us-east-1a"


class Cloud:
    """A Spot instance `i-spot` and an On-Demand instance `i-od`; also its own EC2 and driver."""

    def __init__(self) -> None:
        self.clock, self.lock = VirtualClock(), threading.RLock()
        self.known = {"i-spot": Instance("i-spot", "spot"), "i-od": Instance("i-od", None)}
        self.ec2 = self.driver = self
        self.jobs = SteppedJobs()
        self.vanished: list[str] = []
        self.settings = SimpleNamespace(account="123456789012", region="us-east-1")
        self.rules: dict[str, Any] = {}

    def backend(self, service: str) -> Any:
        assert service == "events"
        return SimpleNamespace(event_buses={"default": SimpleNamespace(rules=self.rules)})

    def instance(self, instance_id: str) -> Instance | None:
        return self.known.get(instance_id)

    def terminate_instances(self, instance_ids: list[str]) -> None:
        for instance_id in instance_ids:
            self.known[instance_id].state = "terminated"

    def stop_instances(self, instance_ids: list[str]) -> None:
        for instance_id in instance_ids:
            self.known[instance_id].state = "stopped"

    def terminate(self, instance_id: str) -> None:
        self.vanished.append(instance_id)


@pytest.fixture
def cloud() -> Any:
    return Cloud()


@pytest.fixture
def routes(cloud: Any) -> NoticeRoutes:
    return NoticeRoutes(cloud, Notices(cloud))


def test_an_interrupted_instance_ends_when_its_time_is_up(cloud: Any) -> None:
    notices = Notices(cloud)
    notices.interrupt("i-spot", 120)
    assert notices.get("i-spot").rebalance_at == cloud.clock.now()
    cloud.clock.advance(119)
    notices.step()
    assert cloud.known["i-spot"].state == "running"
    cloud.clock.advance(1)
    notices.step()
    assert cloud.known["i-spot"].state == "terminated"
    assert notices.get("i-spot").interruption is None


def test_a_rebalance_recommendation_ends_nothing(cloud: Any) -> None:
    notices = Notices(cloud)
    notices.rebalance("i-spot")
    cloud.clock.advance(86_400)
    notices.step()
    assert cloud.known["i-spot"].state == "running"
    assert notices.get("i-spot").interruption is None


@pytest.mark.parametrize(
    ("code", "state"),
    [
        ("instance-retirement", "stopped"),
        ("instance-stop", "stopped"),
        ("system-reboot", "running"),
    ],
)
def test_a_scheduled_event_stops_only_what_it_says_and_ends(
    cloud: Any, code: str, state: str
) -> None:
    notices = Notices(cloud)
    notices.schedule("i-od", code, 60)
    cloud.clock.advance(60)
    notices.step()
    assert cloud.known["i-od"].state == state
    cloud.clock.advance(7200)
    notices.step()
    assert notices.get("i-od").event is None


@pytest.mark.parametrize(
    ("route", "instance_id", "given", "message"),
    [
        ("spot-notice", "i-od", {}, "not a Spot instance"),
        ("rebalance", "i-od", {}, "not a Spot instance"),
        ("spot-notice", "i-none", {}, "not a running instance"),
        ("vanish", "i-none", {}, "not a running instance"),
        ("spot-notice", "i-spot", {"seconds": -1}, "seconds"),
        ("maintenance", "i-od", {"code": "rain"}, "code"),
    ],
)
def test_a_notice_that_makes_no_sense_is_refused(
    routes: NoticeRoutes, route: str, instance_id: str, given: dict[str, Any], message: str
) -> None:
    with pytest.raises(LocalError, match=message):
        routes("POST", route, instance_id, given)


def test_routes_give_notices_and_take_them_back(cloud: Any) -> None:
    notices = Notices(cloud)
    routes = NoticeRoutes(cloud, notices)
    answer = routes("POST", "spot-notice", "i-spot", {"seconds": 60})
    assert answer == {"instance_id": "i-spot", "time": "2026-01-01T00:01:00+00:00"}
    assert routes("POST", "maintenance", "i-spot", {}) is not None
    assert notices.get("i-spot").event is not None
    routes("DELETE", "notices", "i-spot", {})
    assert notices.get("i-spot").interruption is None
    assert routes("GET", "rebalance", "i-spot", {}) is None


def test_a_host_vanishes_without_a_word_to_ec2(cloud: Any, routes: NoticeRoutes) -> None:
    routes("POST", "vanish", "i-od", {})
    cloud.jobs.run()
    assert (cloud.vanished, cloud.known["i-od"].state) == (["i-od"], "running")
