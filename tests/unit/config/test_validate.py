"""Rules: one change to a good file, the one finding it must cause."""

from __future__ import annotations

import pytest

from sglctl.config.loader import load
from sglctl.config.validate import require_valid, validate
from sglctl.errors import ConfigError

from .conftest import Change

REASON = "instance_types: [g6e.12xlarge, g6e.24xlarge]"
CHAT = "instance_types: [g6e.xlarge]"
LLAMA = "model: deepseek-r1-distill-llama-8b"

#: replaced, by what, key, a part of the message or fix
ERRORS = [
    ("release: 2026.11.1", "release: 2026.11.2", "release", "did you mean '2026.11.1'?"),
    (LLAMA, "model: deepseek-r1-distil-llama-8b", "fleets.chat.model",
     "did you mean 'deepseek-r1-distill-llama-8b'?"),
    (CHAT, "instance_types: [g6e.xlrge]", "fleets.chat.instance_types[0]",
     "did you mean 'g6e.xlarge'?"),
    ("instance_type: c7i.large", "instance_type: c9z.large", "router.instance_type",
     "is not in the catalogue"),
    (CHAT, "instance_types: [g4dn.xlarge]", "fleets.chat.instance_types[0]",
     "has no settings for the GPU family g4dn"),
    (CHAT, "instance_types: [m7i.large]", "fleets.chat.instance_types[0]",
     "has no settings for instances without GPU"),
    (CHAT, "instance_types: [g5.xlarge]", "fleets.chat.instance_types[0]",
     "does not fit g5.xlarge: 23.0 GiB needed (15.0 weights + 8.0 KV cache"),
    (CHAT, CHAT + "\n    tensor_parallel: 2", "fleets.chat.instance_types[0]",
     "tensor_parallel 2 needs more GPUs than g6e.xlarge has (1)"),
    (REASON, "instance_types: [g6e.12xlarge]\n    tensor_parallel: 3",
     "fleets.reason.instance_types[0]",
     "does not divide the model's 64 attention heads"),
    (REASON, "instance_types: [g6e.12xlarge, g6e.48xlarge]", "fleets.reason.instance_types[1]",
     "tensor_parallel 8 instead of 4"),
    ("context_length: 65536", "context_length: 200000", "fleets.chat.context_length",
     "more than deepseek-r1-distill-llama-8b has (131072)"),
    ("min: 1, max: 8, desired: 1", "min: 9, max: 8, desired: 8", "fleets.chat.capacity.min",
     "9 is more than max (8)"),
    ("min: 1, max: 8, desired: 1", "min: 2, max: 8, desired: 1", "fleets.chat.capacity.desired",
     "1 is less than min (2)"),
    ("min: 1, max: 8, desired: 1", "min: 1, max: 8, desired: 9", "fleets.chat.capacity.desired",
     "9 is more than max (8)"),
    ("on_demand_base: 1", "on_demand_base: 5", "fleets.reason.purchase.on_demand_base",
     "5 is more than max (4)"),
    (CHAT, "instance_types: [g6e.xlarge, g6e.2xlarge]", "fleets.chat.instance_types",
     "a warm pool allows one instance type only"),
    ("max_prepared: 4", "max_prepared: 0", "fleets.chat.warm_pool.max_prepared",
     "0 is less than min (1)"),
    ("state: Stopped", "state: Hibernated", "fleets.chat.warm_pool.state", "cannot hibernate"),
    ("    warm_pool:", "    purchase: {spot_percentage: 100}\n    warm_pool:",
     "fleets.chat.warm_pool", "Spot instances cannot be kept warm"),
    (LLAMA, LLAMA + "\n    role: decode", "fleets.chat.role", "no prefill fleet computes"),
    (LLAMA, LLAMA + "\n    engine: vllm", "fleets.chat.engine", "vllm is not yet supported"),
    (LLAMA, LLAMA + "\n    engine: stub", "fleets.chat.engine", "the stub engine"),
    ("  tls: {domain: llm.example.com}\n", "", "router.tls", "only `target: local` may serve"),
    ("tls: {domain: llm.example.com}", "tls: {}", "router.tls", "exactly one of"),
    ("listener_port: 443", "listener_port: 443\n  api_keys: false", "router.api_keys",
     "only the environment `local`"),
    ("  count: 2", "  count: 1", "router.count", "single point of failure"),
    ("allowed_cidrs: [0.0.0.0/0]", "allowed_cidrs: [10.0.0.1/8]", "router.allowed_cidrs[0]",
     "not a network"),
    ("allowed_cidrs: [0.0.0.0/0]", "admin_cidrs: [0.0.0.0/0]", "router.admin_cidrs[0]",
     "opens the admin port"),
    ("cidr: 10.40.0.0/16", "cidr: 10.40.0.0/24", "network.cidr", "/24 is not between"),
    ("cidr: 10.40.0.0/16", "cidr: 10.40.1.0/16", "network.cidr", "not a network"),
    ("cidr: 10.40.0.0/16", "cidr: 8.8.0.0/16", "network.cidr", "not a private range"),
    ("stage: prod}", "'sglctl:role': x}", "tags.sglctl:role", "written by AWS or sglctl"),
    ("stage: prod}", "my tag: x}", "tags.my tag", "may hold letters"),
    ("  reason:\n    model: llama-3.3-70b-instruct-fp8",
     "  reason:\n    model: llama-3.3-70b-instruct-fp8\n    serve_as: deepseek-r1-distill-llama-8b",
     "fleets.reason.serve_as", "fleet 'chat' serves"),
    ("  reason:\n", "  chat-spot:\n", "fleets.chat-spot", "names of groups end so"),
    (LLAMA, LLAMA + "\n    first_byte_timeout_s: 900", "fleets.chat.first_byte_timeout_s",
     "cuts a silent stream after 600 s"),
    ("launch_timeout_s: 3600", "launch_timeout_s: 300", "fleets.reason.launch_timeout_s",
     "shorter than its warm-up"),
    (LLAMA, LLAMA + "\n    root_volume: {size_gb: 20}", "fleets.chat.root_volume.size_gb",
     "do not hold 16 GB of weights"),
    (LLAMA, LLAMA + "\n    root_volume: {throughput_mbps: 1000}",
     "fleets.chat.root_volume.throughput_mbps", "raise iops to 4000"),
    ("count: 2", "count: 2\n  deregistration_delay_s: 30", "router.deregistration_delay_s",
     "the load balancer cuts streams first"),
]  # fmt: skip


@pytest.mark.parametrize(("old", "new", "key", "part"), ERRORS)
def test_a_broken_rule_is_one_error_at_its_key(
    changed: Change, old: str, new: str, key: str, part: str
) -> None:
    """Place, message and fix."""
    desired = load(changed("environments/prod.yaml", old, new), "prod")
    errors = [finding for finding in validate(desired) if finding.severity == "error"]
    assert [error.key for error in errors] == [key]
    assert part in str(errors[0])
    assert str(errors[0]).startswith("config/environments/prod.yaml:")


#: model, what its file changes, instance type, part of the message
KERNELS = [
    ("llama-3.3-70b-instruct-fp8",
     ("  g6.48xlarge:", "  p4d: {tensor_parallel: 8}\n  g6.48xlarge:"),
     "p4d.24xlarge", "modelopt_fp8 needs compute capability 8.9, p4d.24xlarge (A100) has 8.0"),
    ("deepseek-r1-distill-qwen-32b-awq", ("tensor_parallel: 4, quantization: awq}",
     "tensor_parallel: 4}"), "g4dn.12xlarge", "awq_marlin needs compute capability 8.0"),
    ("qwen2-1.5b", ("g4dn: {dtype: float16}", "g4dn: {}"), "g4dn.xlarge",
     "bfloat16 needs compute capability 8.0"),
    ("qwen2-1.5b", ("g4dn: {dtype: float16}", "g4dn: {dtype: float16, kv_dtype: fp8_e5m2}"),
     "g4dn.xlarge", "a KV cache of fp8_e5m2 needs compute capability 8.0"),
    ("gpt-oss-20b", ("  g6: {", "  g4dn: {dtype: float16}\n  g6: {"), "g4dn.xlarge",
     "mxfp4 needs compute capability 8.0"),
]  # fmt: skip


@pytest.mark.parametrize(("model", "pair", "instance", "part"), KERNELS)
def test_a_kernel_the_gpu_lacks_is_an_error(
    changed: Change, model: str, pair: tuple[str, str], instance: str, part: str
) -> None:
    """Quantization, compute type and cache type against compute capability."""
    changed(f"models/{model}.yaml", *pair)
    config_dir = changed(
        "environments/dev.yaml", "model: qwen2-1.5b", f"model: {model}",
        "[g6.xlarge]", f"[{instance}]", "    context_length: 32768\n", "    context_length: 1024\n",
    )  # fmt: skip
    messages = [f.message for f in validate(load(config_dir, "dev")) if f.severity == "error"]
    assert any(part in message for message in messages), messages


def test_too_big_a_model_says_how_much_context_would_fit(changed: Change) -> None:
    """And with that context it does fit."""
    prod = "environments/prod.yaml"
    config_dir = changed(prod, CHAT, "instance_types: [g5.xlarge]")
    fix = next(f.fix for f in validate(load(config_dir, "prod")) if f.severity == "error")
    longest = int(fix.rsplit("set context_length to ", 1)[1].split()[0])
    changed(prod, "context_length: 65536", f"context_length: {longest}")
    require_valid(load(config_dir, "prod"))
    changed(prod, f"context_length: {longest}", f"context_length: {longest + 1024}")
    with pytest.raises(ConfigError, match="does not fit"):
        require_valid(load(config_dir, "prod"))


WARNINGS = [
    ("environments/prod.yaml", (CHAT, "instance_types: [g6e.12xlarge]"), "prod",
     "fleets.chat.instance_types[0]", "3 of 4 GPUs of g6e.12xlarge stay idle"),
    ("environments/prod.yaml", ("    warm_pool:", "    purchase: {spot_percentage: 50}\n"
     "    warm_pool:"), "prod", "fleets.chat.warm_pool", "the Spot group always starts cold"),
    ("environments/prod.yaml", ("state: Stopped", "state: Running"), "prod",
     "fleets.chat.warm_pool.state", "cost as much as serving ones"),
    ("models/deepseek-r1-distill-llama-8b.yaml",
     ("  revision: 6a6f4aa4197940add57724a7707d069478df56b1\n", ""), "prod", "source.revision",
     "not pinned"),
    ("environments/prod.yaml", ("nat: per_zone", "nat: none"), "prod", "network.nat",
     "cannot reach AWS"),
]  # fmt: skip


@pytest.mark.parametrize(("file", "pair", "environment", "key", "part"), WARNINGS)
def test_a_doubtful_choice_is_a_warning_and_no_error(
    changed: Change, file: str, pair: tuple[str, str], environment: str, key: str, part: str
) -> None:
    """It is shown, and does not forbid acting."""
    findings = require_valid(load(changed(file, *pair), environment))
    assert any(finding.key == key and part in finding.message for finding in findings)


@pytest.mark.parametrize("revision", ["main", "v1.0", "6a6f4aa"])
def test_a_branch_or_short_commit_is_refused_as_revision(changed: Change, revision: str) -> None:
    """It moves, or may become ambiguous."""
    pinned = "6a6f4aa4197940add57724a7707d069478df56b1"
    config_dir = changed("models/deepseek-r1-distill-llama-8b.yaml", pinned, revision)
    with pytest.raises(ConfigError, match=r"deepseek-r1-distill-llama-8b.yaml:5: source.revision"):
        load(config_dir, "prod")


def test_local_may_run_the_stub_over_plain_http(changed: Change) -> None:
    """That is what it is for."""
    config_dir = changed("environments/local.yaml", "engine: sglang", "engine: stub")
    assert require_valid(load(config_dir, "local")) == []
