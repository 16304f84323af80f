"""Routing: what the routers' document says, what it leaves out, and which chains are refused."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from sglctl.config import routing
from sglctl.config.environment import Router
from sglctl.config.fleet import Fleet
from sglctl.config.loader import load
from sglctl.config.render import render_router_document
from sglctl.config.render.router_document import ROUTED
from sglctl.config.validate import validate
from sglrouter import models
from sglrouter.models import parse_document

from .conftest import ENVIRONMENTS, Change

CHAT = "    model: deepseek-r1-distill-llama-8b\n"
EXTERNAL = """externals:
  hosted:
    kind: openai
    url: https://api.example.com/openai
    models: {deepseek-r1-distill-llama-8b: gpt-5-mini}

observability:
"""
CHAIN = CHAT + "    fallback: [{fleet: reason}, {external: hosted, first_byte_timeout_s: 20}]\n"


def rendered(config_dir: Path, environment: str) -> tuple[dict[str, Any], models.RouterDocument]:
    """The document, and what the router makes of it."""
    document = render_router_document(load(config_dir, environment))
    return document, parse_document(json.dumps(document), "test")


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_every_environment_routes_by_prefix_over_all_its_routers(
    config_dir: Path, environment: str
) -> None:
    """With keys, an admin key and numbers for scaling, in a third of what a parameter holds."""
    document, parsed = rendered(config_dir, environment)
    assert parsed.policy == "prefix_aware"
    assert parsed.peers == models.AwsPeers()
    assert parsed.cloudwatch == models.CloudWatch()
    assert parsed.admin_key is not None
    assert parsed.admin_key.secret == f"sglctl/{environment}/admin-key"
    assert len(json.dumps(document)) < 8192 / 3


SHARED = [
    (routing.Queue, models.Queue),
    (routing.Breaker, models.Breaker),
    (routing.Affinity, models.Affinity),
]


@pytest.mark.parametrize(("ours", "theirs"), SHARED)
def test_defaults_are_the_routers_own(ours: Any, theirs: Any) -> None:
    """Else what is left out of the document would mean something else."""
    assert ours().model_dump() == theirs().model_dump()


def test_defaults_of_a_fleet_and_a_tier_are_the_routers_own() -> None:
    route = models.FleetRoute(models=("m",)).model_dump()
    for name in ROUTED:
        default = Fleet.model_fields[name].get_default()
        dumped = default.model_dump() if hasattr(default, "model_dump") else default
        assert (name, dumped) == (name, route[name])
    ours = routing.Tier(fleet="a").model_dump()
    assert ours == models.Tier(fleet="a").model_dump()
    assert Router().failed_keys_per_minute == models.Keys(secret="x").failed_per_minute
    assert Router().processes == models.Listen().processes


def test_what_is_written_reaches_the_router(changed: Change) -> None:
    config_dir = changed(
        "environments/prod.yaml", CHAT,
        CHAIN + "    policy: session\n    max_in_flight: 90\n    max_in_flight_per_worker: 30\n"
        "    queue: {size: 20}\n    breaker: {failures: 5, max_open_s: 30}\n",
        "observability:\n", EXTERNAL,
        "  instance_type: c7i.large\n",
        "  instance_type: c7i.large\n  failed_keys_per_minute: 9\n"
        "  affinity: {spill_tokens: 999}\n  policy: least_load\n",
    )  # fmt: skip
    document, parsed = rendered(config_dir, "prod")
    chat = parsed.fleets["chat"]
    assert [(t.name, t.first_byte_timeout_s) for t in chat.fallback] == [
        ("reason", 60.0),
        ("hosted", 20.0),
    ]
    assert (chat.policy, chat.max_in_flight, chat.max_in_flight_per_worker) == ("session", 90, 30)
    assert (chat.queue.size, chat.queue.timeout_s) == (20, 30.0)
    assert (chat.breaker.failures, chat.breaker.open_s, chat.breaker.max_open_s) == (5, 2.0, 30.0)
    assert chat.first_byte_s == 5
    assert load(config_dir, "prod").environment.fleets["chat"].first_byte_s == 5
    external = parsed.externals["hosted"]
    assert external.key.secret == "sglctl/prod/external/hosted"
    assert external.models == {"deepseek-r1-distill-llama-8b": "gpt-5-mini"}
    assert (parsed.policy, parsed.listen.processes) == ("least_load", 2)
    assert parsed.keys is not None
    assert parsed.keys.failed_per_minute == 9
    assert parsed.affinity.spill_tokens == 999
    assert document["fleets"]["chat"]["queue"] == {"size": 20}  # the default is left out
    assert "queue" not in document["fleets"]["reason"]


def test_what_is_switched_off_is_not_there(changed: Change) -> None:
    config_dir = changed(
        "environments/local.yaml", "  api_keys: true\n",
        "  api_keys: false\n  admin_key: false\n  cloudwatch: false\n",
        "  count: 2\n", "  count: 1\n",
    )  # fmt: skip
    document, parsed = rendered(config_dir, "local")
    assert (parsed.keys, parsed.admin_key, parsed.cloudwatch, parsed.peers) == (None,) * 4
    assert {"admin_key", "cloudwatch", "peers", "externals", "affinity"} & set(document) == set()


#: what fallback says, key, a part of the message or fix
WRONG = [
    ("[{fleet: reasn}]", "fleets.chat.fallback[0].fleet", "did you mean 'reason'?"),
    ("[{fleet: chat}]", "fleets.chat.fallback[0]", "'chat' is in this chain already"),
    ("[{fleet: reason}, {fleet: reason}]", "fleets.chat.fallback[1]", "in this chain already"),
    ("[{external: hostd}]", "fleets.chat.fallback[0].external", "did you mean 'hosted'?"),
    ("[{}]", "fleets.chat.fallback[0]", "exactly one of fleet and external"),
    ("[{fleet: reason, external: hosted}]", "fleets.chat.fallback[0]", "exactly one"),
]


@pytest.mark.parametrize(("chain", "key", "text"), WRONG)
def test_a_wrong_chain_is_one_error_at_its_place(
    changed: Change, chain: str, key: str, text: str
) -> None:
    config_dir = changed(
        "environments/prod.yaml", CHAT, CHAT + f"    fallback: {chain}\n",
        "observability:\n", EXTERNAL,
    )  # fmt: skip
    errors = [f for f in validate(load(config_dir, "prod")) if f.severity == "error"]
    assert [(f.key, f.file.name) for f in errors] == [(key, "prod.yaml")]
    assert text in f"{errors[0].message} {errors[0].fix}"
    assert errors[0].line > 0


def test_an_external_must_know_the_model_of_the_fleet_that_falls_back_to_it(
    changed: Change,
) -> None:
    config_dir = changed(
        "environments/prod.yaml", CHAT, CHAIN,
        "observability:\n", EXTERNAL.replace("deepseek-r1-distill-llama-8b: gpt", "other: gpt"),
    )  # fmt: skip
    (error,) = [f for f in validate(load(config_dir, "prod")) if f.severity == "error"]
    assert error.key == "fleets.chat.fallback[1].external"
    assert "no name for the model 'deepseek-r1-distill-llama-8b'" in error.message


def test_an_unused_external_and_one_called_like_a_fleet_are_found(changed: Change) -> None:
    config_dir = changed(
        "environments/prod.yaml", "observability:\n", EXTERNAL.replace("hosted:", "chat:")
    )
    found = [f for f in validate(load(config_dir, "prod")) if f.key == "externals.chat"]
    assert sorted(f.severity for f in found) == ["error", "warning"]


def test_a_document_that_no_parameter_can_hold_is_an_error(changed: Change) -> None:
    names = ", ".join(f"a-very-long-model-name-{n:04}: theirs-{n:04}" for n in range(250))
    external = EXTERNAL.replace("gpt-5-mini}", f"gpt-5-mini, {names}}}")
    config_dir = changed(
        "environments/prod.yaml", CHAT, CHAIN, "observability:\n", external
    )  # fmt: skip
    (error,) = [f for f in validate(load(config_dir, "prod")) if f.severity == "error"]
    assert (error.key, "8192" in error.message) == ("fleets", True)


@pytest.mark.parametrize(
    "url", ["http://api.example.com", "ftp://x", "https://", "https://a?b=c", "https://me:pw@a"]
)
def test_a_key_leaves_this_machine_only_over_https(changed: Change, url: str) -> None:
    from sglctl.errors import ConfigError

    config_dir = changed(
        "environments/prod.yaml", "observability:\n",
        EXTERNAL.replace("https://api.example.com/openai", url),
    )  # fmt: skip
    with pytest.raises(ConfigError, match=r"externals\.hosted\.url"):
        load(config_dir, "prod")
