"""Derived artefacts, against the contract and the readers' own models."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from sglctl.config.loader import load
from sglctl.config.render import (
    render_ansible,
    render_fleet_document,
    render_packer,
    render_router_document,
    render_terraform,
    required_images,
)
from sglctl.errors import ConfigError
from sglrouter.models import parse_document
from sglworker.models import FleetDocument, parse

from .conftest import ENVIRONMENTS, REPOSITORY, Change

PROD_IMAGES = {
    "router": "ami-1",
    "worker-deepseek-r1-distill-llama-8b": "ami-2",
    "worker-llama-3.3-70b-instruct-fp8": "ami-3",
}


def _fields(name: str) -> set[str]:
    """Keys of one example in docs/reference/interfaces.md, by its heading's words."""
    page = (REPOSITORY / "docs" / "reference" / "interfaces.md").read_text(encoding="utf-8")
    block = page.split(f"### {name}", 1)[1].split("```json", 1)[1].split("```", 1)[0]
    return set(json.loads(block))


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_workers_and_routers_accept_their_documents(config_dir: Path, environment: str) -> None:
    """sglworker and sglrouter parse strictly what we write."""
    desired = load(config_dir, environment)
    router = parse_document(json.dumps(render_router_document(desired)), "test")
    fleets = desired.environment.fleets
    assert set(router.fleets) == {n for n, fleet in fleets.items() if fleet.role != "prefill"}
    for name, fleet in fleets.items():
        document = parse(FleetDocument, json.dumps(render_fleet_document(desired, name)), "test")
        assert document.fleet == name
        assert document.served_model_name in router.fleets[fleet.prefill_for or name].models
        assert document.drain_deadline_s == fleet.drain_deadline_s


def test_documents_have_the_keys_of_the_contract(config_dir: Path) -> None:
    """docs/reference/interfaces.md shows each of them, and every key a worker can be told."""
    desired = load(config_dir, "prod")
    assert set(FleetDocument.model_fields) == _fields("FleetDocument")
    left_out = _fields("FleetDocument") - set(render_fleet_document(desired, "chat"))
    # What has the agent's default is left out: a parameter holds 4 KB.
    assert left_out <= {"disaggregation", "on_rebalance"}
    assert set(render_router_document(desired)) == _fields("RouterDocument")


def test_the_router_closes_idle_connections_after_the_load_balancer(config_dir: Path) -> None:
    """Else a client gets 502 for a connection closed under its request."""
    desired = load(config_dir, "prod")
    limits = render_router_document(desired)["limits"]
    assert limits["idle_timeout_s"] > desired.environment.router.idle_timeout_s


def test_production_as_terraform_variables(config_dir: Path) -> None:
    """Every variable of the root module, in its shape."""
    variables = render_terraform(load(config_dir, "prod"), images=PROD_IMAGES, emulated=True)
    documents = [variables["router"].pop("document")]
    documents += [fleet.pop("document") for fleet in variables["fleets"].values()]
    assert all(len(document) <= 4096 for document in documents)
    assert [json.loads(document)["environment"] for document in documents] == ["prod"] * 3
    assert variables == {
        "environment": "prod", "region": "us-east-1", "account_id": "111122223333",
        "release": "2026.11.1", "emulated": True, "tags": {"team": "ml", "stage": "prod"},
        "network": {"cidr": "10.40.0.0/16", "availability_zones": 3, "nat": "per_zone",
                    "existing": None},
        "router": {"image_id": "ami-1", "instance_type": "c7i.large", "count": 2, "port": 8000,
                   "admin_port": 8001, "listener_port": 443,
                   "tls": {"certificate_arn": None, "domain": "llm.example.com"},
                   "internal": False, "allowed_cidrs": ["0.0.0.0/0"], "admin_cidrs": [],
                   "idle_timeout_s": 600, "deregistration_delay_s": 120, "root_volume_gb": 20,
                   "externals": []},
        "fleets": {
            "chat": {"model": "deepseek-r1-distill-llama-8b", "image_id": "ami-2",
                     "instance_types": ["g6e.xlarge"],
                     "groups": {"on_demand": {"min": 1, "max": 8, "desired": 1}, "spot": None},
                     "warm_pool": {"min": 1, "max_prepared": 4, "state": "Stopped",
                                   "reuse_on_scale_in": False},
                     "root_volume": {"size_gb": 60, "iops": 3000, "throughput_mbps": 125},
                     "prefill_for": None,
                         "engine_port": 30000, "agent_port": 30080, "launch_timeout_s": 1800,
                     "drain_deadline_s": 900, "tags": {}},
            "reason": {"model": "llama-3.3-70b-instruct-fp8", "image_id": "ami-3",
                       "instance_types": ["g6e.12xlarge", "g6e.24xlarge"],
                       "groups": {"on_demand": {"min": 1, "max": 1, "desired": 1},
                                  "spot": {"min": 0, "max": 3, "desired": 1}},
                       "warm_pool": None,
                       "root_volume": {"size_gb": 103, "iops": 3000, "throughput_mbps": 125},
                       "prefill_for": None,
                         "engine_port": 30000, "agent_port": 30080, "launch_timeout_s": 3600,
                       "drain_deadline_s": 900, "tags": {}},
        },
        "observability": {"log_retention_days": 90, "alarm_topic_arn": None, "queue_depth": 20},
    }  # fmt: skip


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_the_root_module_declares_every_variable_rendered(
    config_dir: Path, environment: str
) -> None:
    """An undeclared one would be dropped by Terraform with a warning only."""
    desired = load(config_dir, environment)
    images = {need.name: "ami-1" for need in required_images(desired)}
    text = (REPOSITORY / "terraform" / "environment" / "variables.tf").read_text(encoding="utf-8")
    declared = {line.split('"')[1] for line in text.splitlines() if line.startswith("variable ")}
    assert set(render_terraform(desired, images=images, emulated=False)) == declared


def test_missing_images_are_named_all_at_once(config_dir: Path) -> None:
    """With the command that makes them."""
    with pytest.raises(ConfigError) as caught:
        render_terraform(load(config_dir, "prod"), images={"router": "ami-1"}, emulated=False)
    assert "worker-deepseek-r1-distill-llama-8b, worker-llama-3.3" in caught.value.message
    assert caught.value.hint == "sglctl image build --env prod"


@pytest.mark.parametrize(
    ("environment", "fleet", "expected"),
    [
        ("local", "chat", ["--enable-metrics", "--enable-cache-report", "--max-total-tokens",
                           "8192", "--max-running-requests", "32", "--sleep-on-idle"]),
        ("prod", "chat", ["--enable-metrics", "--enable-cache-report", "--mem-fraction-static",
                          "0.88", "--reasoning-parser", "deepseek-r1"]),
        ("prod", "reason", ["--enable-metrics", "--enable-cache-report",
                            "--tensor-parallel-size", "4", "--mem-fraction-static", "0.85",
                            "--quantization", "modelopt_fp8", "--kv-cache-dtype", "fp8_e4m3"]),
    ],
)  # fmt: skip
def test_engine_arguments_follow_from_model_hardware_and_fleet(
    config_dir: Path, environment: str, fleet: str, expected: list[str]
) -> None:
    """In that order, so that the fleet's come last and win."""
    document = render_fleet_document(load(config_dir, environment), fleet)
    assert document["engine_args"] == expected


def test_a_fleet_overrides_model_and_hardware(changed: Change) -> None:
    """Arguments are appended, numbers and variables replaced."""
    config_dir = changed(
        "environments/local.yaml", "    engine: sglang\n",
        "    engine: sglang\n    serve_as: demo\n    context_length: 2048\n"
        "    engine_args: [--log-level, debug]\n    engine_environment: {OMP_NUM_THREADS: '2'}\n",
    )  # fmt: skip
    document = render_fleet_document(load(config_dir, "local"), "chat")
    assert document["served_model_name"] == "demo"
    assert document["context_length"] == 2048
    assert document["engine_args"][-2:] == ["--log-level", "debug"]
    assert document["engine_env"] == {"OMP_NUM_THREADS": "2"}


def test_images_are_named_after_their_models_and_pinned_by_the_release(changed: Change) -> None:
    """The release file's id for the region is used as it is."""
    config_dir = changed(
        "releases/2026.11.1.yaml", "images: {}", "images: {us-east-1: {router: ami-0abc}}"
    )
    needs = required_images(load(config_dir, "prod"))
    assert [(need.name, need.device, need.pinned) for need in needs] == [
        ("router", None, "ami-0abc"),
        ("worker-deepseek-r1-distill-llama-8b", "cuda", None),
        ("worker-llama-3.3-70b-instruct-fp8", "cuda", None),
    ]


def test_the_variables_of_a_local_bake(config_dir: Path) -> None:
    """The tiny model is generated, and the engine told that there is no GPU."""
    desired = load(config_dir, "local")
    worker = next(need for need in required_images(desired) if need.model)
    assert render_ansible(desired, worker) == {
        "image_manifest_image": "worker-tiny",
        "image_manifest_release": "local",
        "sglang_worker_engine": {"name": "sglang", "version": "0.5.23", "device": "cpu"},
        "sglang_worker_engine_args": [
            "--device", "cpu", "--attention-backend", "torch_native", "--disable-cuda-graph",
        ],
        "sglang_worker_engine_environment": {"HF_HUB_OFFLINE": "1"},
        "sglang_worker_model": {"name": "tiny", "generate": "tiny"},
        "sglang_worker_model_exclude": [],
    }  # fmt: skip
    packer = render_packer(desired, worker)
    assert packer["source_image_name"] == "sglocal-debian-12"


def test_a_bake_for_gpus_pins_repository_and_commit(config_dir: Path) -> None:
    """And asks for no CPU flags; the volume holds the weights."""
    desired = load(config_dir, "prod")
    worker = next(need for need in required_images(desired) if "70b" in need.name)
    ansible, packer = render_ansible(desired, worker), render_packer(desired, worker)
    assert ansible["sglang_worker_engine_args"] == []
    assert ansible["sglang_worker_model"] == {
        "name": "llama-3.3-70b-instruct-fp8",
        "repository": "nvidia/Llama-3.3-70B-Instruct-FP8",
        "revision": "fde04ee76a27704c88f569542ef023b57d4d0362",
        "bytes": 0,
    }
    assert packer["root_volume_gb"] == 103
    assert packer["instance_type"] == "g6e.12xlarge"
    assert packer["source_image_owner"] == "amazon"


@pytest.mark.parametrize("role", ["sglang_worker", "sglang_router", "image_manifest"])
def test_the_roles_know_every_variable_rendered_for_them(config_dir: Path, role: str) -> None:
    """A variable no role reads would change nothing."""
    specs = (REPOSITORY / "ansible/roles" / role / "meta/argument_specs.yml").read_text()
    desired = load(config_dir, "prod")
    for need in required_images(desired):
        for name in render_ansible(desired, need):
            if name.startswith(f"{role}_"):
                assert f" {name}:" in specs
