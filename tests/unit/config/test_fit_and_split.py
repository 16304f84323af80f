"""Arithmetic: memory, KV cache, groups, cost."""

from __future__ import annotations

from decimal import Decimal
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from sglctl.config.capacity import GroupCapacity, on_demand_share, root_volume_gb, split
from sglctl.config.catalogue import ModelEntry
from sglctl.config.fit import cache_bytes_per_token
from sglctl.config.fleet import Capacity, Fleet, Purchase
from sglctl.config.loader import load, read_file
from sglctl.core.cost import hourly_cost

from .conftest import Change


def _fleet(low: int, now: int, high: int, base: int, spot: int) -> Fleet:
    return Fleet(
        model="tiny",
        instance_types=("g6e.xlarge",),
        capacity=Capacity(min=low, max=high, desired=now),
        purchase=Purchase(on_demand_base=base, spot_percentage=spot),
    )


@pytest.mark.parametrize(
    ("workers", "base", "spot", "expected"),
    [
        (4, 0, 0, 4), (4, 0, 100, 0), (4, 1, 100, 1), (4, 1, 50, 3), (5, 1, 50, 3),
        (0, 2, 50, 0), (1, 2, 100, 1), (10, 0, 33, 7), (3, 0, 50, 2),
    ],
)  # fmt: skip
def test_the_on_demand_share_rounds_in_its_own_favour(
    workers: int, base: int, spot: int, expected: int
) -> None:
    """base' + ceil((c - base') x (100 - spot%) / 100)."""
    assert on_demand_share(workers, base, spot) == expected


@given(
    st.lists(st.integers(0, 200), min_size=3, max_size=3).map(sorted),
    st.integers(0, 250),
    st.integers(0, 100),
)
def test_both_groups_keep_the_order_and_add_up(sizes: list[int], base: int, spot: int) -> None:
    """Whatever the purchase, Terraform accepts both groups."""
    groups = split(_fleet(sizes[0], sizes[1], sizes[2], base, spot))
    on_demand, other = groups.on_demand, groups.spot or GroupCapacity(0, 0, 0)
    for group in (on_demand, other):
        assert 0 <= group.min <= group.desired <= group.max
    assert on_demand.desired + other.desired == sizes[1]
    assert on_demand.max + other.max == sizes[2]
    assert (groups.spot is None) == (other.max == 0)


@pytest.mark.parametrize(
    ("model", "kv_dtype", "gpus", "expected"),
    [
        # 2 x 32 layers x 8 heads x 128 x 2 bytes = 128 KiB
        ("deepseek-r1-distill-llama-8b", "auto", 1, 131072),
        ("deepseek-r1-distill-llama-8b", "fp8_e5m2", 1, 65536),
        ("deepseek-r1-distill-llama-8b", "auto", 4, 32768),
        ("llama-3.3-70b-instruct-fp8", "fp8_e4m3", 4, 40960),
        # 12 of 48 layers; 2 KV heads on 8 GPUs: one each
        ("qwen3-next-80b-a3b-instruct", "auto", 1, 24576),
        ("qwen3-next-80b-a3b-instruct", "auto", 8, 12288),
    ],
)
def test_cache_bytes_follow_from_the_architecture(
    config_dir: Path, model: str, kv_dtype: str, gpus: int, expected: int
) -> None:
    """2 x layers x KV heads on the GPU x head_dim x width."""
    entry, _, _ = read_file(config_dir / "models" / f"{model}.yaml", ModelEntry)
    assert entry is not None
    assert cache_bytes_per_token(entry, kv_dtype, gpus) == expected


@pytest.mark.parametrize(
    ("wanted", "weights", "expected"),
    [(None, 0, 60), (100, 10**12, 100), (None, 160 * 10**9, 212), (None, 1, 60)],
)
def test_the_root_volume_holds_the_weights(
    wanted: int | None, weights: int, expected: int
) -> None:  # fmt: skip
    """The wish, else 1.25 times the weights and the system."""
    assert root_volume_gb(wanted, weights) == expected


def test_cost_is_workers_times_price_and_routers(config_dir: Path) -> None:
    """prod: chat 1..1..8 of g6e.xlarge, reason 1..2..4 of g6e.12xlarge, two routers."""
    cost = hourly_cost(load(config_dir, "prod"))
    chat, reason, router = Decimal("1.861"), Decimal("10.49264"), Decimal("0.08925")
    assert cost.fleets["chat"].max == 8 * chat
    assert cost.routers.desired == 2 * router
    assert cost.total.min == chat + reason + 2 * router
    assert cost.total.desired == chat + 2 * reason + 2 * router
    assert cost.unpriced == ()
    assert "us-east-1" in cost.basis
    assert not cost.other_region


def test_running_warm_workers_are_paid_for(changed: Change) -> None:
    """Stopped ones are not: only their storage is."""
    config_dir = changed("environments/prod.yaml", "state: Stopped", "state: Running")
    assert hourly_cost(load(config_dir, "prod")).fleets["chat"].min == 2 * Decimal("1.861")


def test_an_unknown_price_is_unknown_and_not_free(changed: Change) -> None:
    """The total says so, too."""
    config_dir = changed("instances.yaml", ", usd_per_hour: 1.861}", "}")
    cost = hourly_cost(load(config_dir, "prod"))
    assert cost.unpriced == ("g6e.xlarge",)
    assert cost.total.desired is None
    assert cost.fleets["reason"].desired == 2 * Decimal("10.49264")


def test_another_region_is_said(config_dir: Path) -> None:
    """The figures are of the catalogue's region."""
    cost = hourly_cost(load(config_dir, "prod", overrides={"region": "eu-west-1"}))
    assert cost.other_region
    assert "differ" in cost.basis
