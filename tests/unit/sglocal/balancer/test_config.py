"""The HAProxy configuration of a model."""

from __future__ import annotations

import re

import pytest

from sglocal.balancer import config
from sglocal.balancer.model import (
    Action,
    Fixed,
    Forward,
    Listener,
    Model,
    Pool,
    Redirect,
    Rule,
    ServerState,
    Target,
)


def model(default: Action, state: ServerState = "ready", rules: tuple[Rule, ...] = ()) -> Model:
    listener = Listener("lb-80", "lb", 80, 8080, [], 600, default, rules)
    pool = Pool("one", [Target("i-1", "10.40.0.4", 8000, state)], idle_timeout_s=600)
    return Model([listener], [pool])


ACTIONS = {
    "one pool": (Forward([("one", 1)]), ["default_backend one"]),
    "weights": (
        Forward([("one", 1), ("two", 2), ("three", 1)]),
        [
            "use_backend one if { rand(1000) lt 250 }",
            "use_backend two if { rand(1000) lt 667 }",
            "default_backend three",
        ],
    ),
    "a pool of weight 0 gets nothing": (
        Forward([("one", 0), ("two", 5)]),
        ["default_backend two"],
    ),
    "no pool": (Forward([]), ["http-request return status 503"]),
    "a quote in a body": (
        Fixed(404, "text/plain", "it's gone"),
        ["http-request return status 404 content-type 'text/plain' string 'it'\\''s gone'"],
    ),
    "redirect": (
        Redirect("https://127.0.0.1:443/", 301),
        ["http-request redirect location 'https://127.0.0.1:443/' code 301"],
    ),
}


@pytest.mark.parametrize(("action", "lines"), ACTIONS.values(), ids=ACTIONS.keys())
def test_a_default_action_becomes(action: Action, lines: list[str]) -> None:
    text = config.render(model(action), namespace=None)
    frontend = text.partition("frontend lb-80")[2].partition("\n\n")[0]
    wanted = re.compile(r"\s*(default_backend|use_backend|http-request (return|redirect))")
    assert [line.strip() for line in frontend.splitlines() if wanted.match(line)] == lines


def test_a_rule_matches_paths_with_wildcards() -> None:
    rule = Rule(["/v1/*"], [], Forward([("one", 1)]))
    text = config.render(model(Forward([]), rules=(rule,)), namespace=None)
    assert "    acl path0 path -m reg '^/v1/.*$'\n    use_backend one if path0\n" in text


def test_targets_are_reached_in_the_hosts_namespace() -> None:
    text = config.render(model(Forward([("one", 1)])), namespace="sgl-1")
    assert "    server i-1 10.40.0.4:8000 namespace sgl-1\n" in text


def test_a_change_of_state_is_no_change_of_structure() -> None:
    ready, leaving = (model(Forward([("one", 1)]), state) for state in ("ready", "drain"))
    assert config.render(ready, namespace=None) != config.render(leaving, namespace=None)
    assert config.structure(ready, namespace=None) == config.structure(leaving, namespace=None)


def test_a_stream_may_be_silent_for_the_idle_timeout() -> None:
    text = config.render(model(Forward([("one", 1)])), namespace=None)
    assert "    option http-no-delay\n" in text
    assert "    timeout client 600s\n" in text
    assert "    timeout server 600s\n" in text
