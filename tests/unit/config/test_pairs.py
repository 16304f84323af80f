"""Prefill and decode fleets: what must fit, and what agents, routers and Terraform are told."""

from __future__ import annotations

import json

import pytest

from sglctl.config.loader import load
from sglctl.config.render import (
    render_fleet_document,
    render_router_document,
    render_terraform,
)
from sglctl.config.validate import validate
from sglrouter.models import parse_document
from sglworker.models import FleetDocument, parse

from .conftest import Change

PAIRS = "environments/pairs.yaml"
DECODE = "    role: decode\n"
PREFILL = "    role: prefill\n"
FOR = "    prefill_for: chat\n"

#: what is changed in the file; the key of the one error; part of its message
ERRORS = [
    ((FOR, ""), "fleets.chat-prefill.role", "write `prefill_for: chat`"),
    ((FOR, "    prefill_for: chta\n"), "fleets.chat-prefill.prefill_for", "did you mean 'chat'?"),
    ((FOR, "    prefill_for: chat-prefill\n"), "fleets.chat-prefill.prefill_for",
     "fleet 'chat-prefill' has `role: prefill`"),
    ((FOR, FOR + "    disaggregation: {bootstrap_port: 9000}\n"),
     "fleets.chat-prefill.disaggregation", "say it on fleet chat"),
    ((FOR, FOR + "    engine: stub\n"), "fleets.chat-prefill.engine", "they share it"),
    ((FOR, FOR + "    serve_as: other\n"), "fleets.chat-prefill.serve_as", "say it on fleets.chat"),
    ((FOR, FOR + "    queue: {size: 1}\n"), "fleets.chat-prefill.queue", "by the decode fleet's"),
    ((FOR, FOR + "    policy: session\n"), "fleets.chat-prefill.policy", "by the decode fleet's"),
    ((DECODE, DECODE + "    fallback: [{fleet: chat-prefill}]\n"),
     "fleets.chat.fallback[0].fleet", "there is no fleet 'chat-prefill'"),
]  # fmt: skip


@pytest.mark.parametrize(("pair", "key", "part"), ERRORS)
def test_a_pair_that_does_not_fit_is_an_error_at_its_key(
    changed: Change, pair: tuple[str, str], key: str, part: str
) -> None:
    desired = load(changed(PAIRS, *pair), "pairs")
    errors = [finding for finding in validate(desired) if finding.severity == "error"]
    assert key in [error.key for error in errors]
    told = next(error for error in errors if error.key == key)
    assert part in str(told)
    assert str(told).startswith("config/environments/pairs.yaml:")


def test_a_decode_fleet_alone_could_answer_nothing(changed: Change) -> None:
    desired = load(changed(PAIRS, PREFILL + FOR, "    serve_as: other\n"), "pairs")
    assert [(f.key, f.message) for f in validate(desired)] == [
        ("fleets.chat.role", "no prefill fleet computes its prompts")
    ]


def test_a_regular_fleet_is_no_half(changed: Change) -> None:
    desired = load(changed(PAIRS, DECODE, "    role: regular\n"), "pairs")
    assert {f.key for f in validate(desired)} == {
        "fleets.chat.disaggregation", "fleets.chat-prefill.prefill_for",
    }  # fmt: skip


@pytest.mark.parametrize(
    ("pair", "part"),
    [
        (("context_length: 32768", "context_length: 16384"), "context_length is 32768 here and"),
        (("model: deepseek-r1-distill-llama-8b", "model: qwen2-1.5b"), "fleet 'chat' has qwen2"),
    ],
)
def test_halves_share_model_and_cache(changed: Change, pair: tuple[str, str], part: str) -> None:
    """What one computed must mean the same to the other."""
    findings = validate(load(changed(PAIRS, *pair), "pairs"))
    assert any(part in str(finding) for finding in findings), findings


def test_agents_are_told_their_role_and_how_the_halves_meet(changed: Change) -> None:
    config_dir = changed(PAIRS, "bootstrap_port: 8998", "bootstrap_port: 9100")
    desired = load(config_dir, "pairs")
    told = {
        name: parse(FleetDocument, json.dumps(render_fleet_document(desired, name)), "test")
        for name in desired.environment.fleets
    }
    assert [(d.role, d.on_rebalance) for d in told.values()] == [
        ("decode", "record"), ("prefill", "drain"),
    ]  # fmt: skip
    for document in told.values():
        assert document.disaggregation.transfer_backend == "mooncake_tcp"
        assert document.disaggregation.bootstrap_port == 9100


def test_without_a_word_the_pair_meets_as_the_agents_default_says(changed: Change) -> None:
    wanted = "    disaggregation: {transfer_backend: mooncake_tcp, bootstrap_port: 8998}\n"
    desired = load(changed(PAIRS, wanted, ""), "pairs")
    document = render_fleet_document(desired, "chat-prefill")
    assert document["disaggregation"] == FleetDocument.model_fields[
        "disaggregation"
    ].default.model_dump()  # fmt: skip


def test_routers_know_the_pair_by_its_decode_fleet(changed: Change) -> None:
    document = parse_document(
        json.dumps(render_router_document(load(changed(PAIRS), "pairs"))), "test"
    )
    assert list(document.fleets) == ["chat"]
    assert document.fleets["chat"].models == ("deepseek-r1-distill-llama-8b",)


def test_terraform_makes_groups_of_both_and_lets_them_meet(changed: Change) -> None:
    desired = load(changed(PAIRS), "pairs")
    images = {"router": "ami-1", "worker-deepseek-r1-distill-llama-8b": "ami-2"}
    fleets = render_terraform(desired, images=images, emulated=False)["fleets"]
    assert {name: fleet["prefill_for"] for name, fleet in fleets.items()} == {
        "chat": None, "chat-prefill": "chat",
    }  # fmt: skip
    assert fleets["chat-prefill"]["groups"]["spot"] == {"min": 0, "max": 3, "desired": 0}
