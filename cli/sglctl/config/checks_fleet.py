"""Rules of one fleet that need no hardware: references, capacity, warm pool, deadlines."""

from __future__ import annotations

import difflib
from collections.abc import Iterator

from sglctl.config.capacity import root_volume_gb, split
from sglctl.config.desired import Desired
from sglctl.config.finding import Finding
from sglctl.config.fleet import Fleet

#: A Spot instance is taken two minutes after its notice.
#: https://docs.aws.amazon.com/AWSEC2/latest/UserGuide/spot-instance-termination-notices.html
SPOT_NOTICE_S = 120
#: gp3: https://docs.aws.amazon.com/ebs/latest/userguide/general-purpose.html#gp3-ebs-volume-type
IOPS_PER_GB, IOPS_PER_MBPS = 500, 4


def check_fleet(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    yield from _references(desired, name, fleet)
    yield from check_capacity(desired, name, fleet)
    yield from _warm_pool(desired, name, fleet)
    yield from _deadlines(desired, name, fleet)
    yield from _volume(desired, name, fleet)
    yield from _name(desired, name)


def _name(desired: Desired, name: str) -> Iterator[Finding]:
    if name == "router" or name.endswith(("-spot", "-ondemand")):
        yield desired.sources["environment"].finding(
            ("fleets", name), "names of groups end so: this one would be taken for another",
            "choose another name",
        )  # fmt: skip


def _volume(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    source, volume = desired.sources["environment"], fleet.root_volume
    here = ("fleets", name, "root_volume")
    size = volume.size_gb
    model = desired.models.get(fleet.model)
    if model and size is not None and size < root_volume_gb(None, model.weight_bytes, floor=0):
        yield source.finding(
            (*here, "size_gb"),
            f"{size} GB do not hold {model.weight_bytes / 1e9:.0f} GB of weights and the system",
            f"write {root_volume_gb(None, model.weight_bytes, floor=0)} or more, or remove it",
        )
    size = root_volume_gb(size, model.weight_bytes if model else 0)
    if volume.iops > max(3000, IOPS_PER_GB * size):
        yield source.finding(
            (*here, "iops"), f"gp3 allows {IOPS_PER_GB} per GB: {IOPS_PER_GB * size} at {size} GB"
        )
    if volume.throughput_mbps > volume.iops / IOPS_PER_MBPS:
        yield source.finding(
            (*here, "throughput_mbps"),
            f"gp3 allows a quarter of the IOPS: {volume.iops // IOPS_PER_MBPS} MB/s",
            f"lower it, or raise iops to {volume.throughput_mbps * IOPS_PER_MBPS}",
        )


def _references(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    source = desired.sources["environment"]
    if fleet.model not in desired.models:
        close = difflib.get_close_matches(fleet.model, desired.known_models, n=1, cutoff=0.4)
        known = ", ".join(desired.known_models)
        yield source.finding(
            ("fleets", name, "model"),
            f"there is no model {fleet.model!r}",
            f"did you mean '{close[0]}'?" if close else f"models: {known}",
        )
    if fleet.engine == "vllm":
        yield source.finding(
            ("fleets", name, "engine"), "vllm is not yet supported", "write `sglang`"
        )
    if fleet.engine == "stub" and not desired.is_local:
        yield source.finding(
            ("fleets", name, "engine"),
            "the stub engine answers nothing real: only `target: local` may run it",
            "write `sglang`",
        )


def check_capacity(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    """0 <= min <= desired <= max."""
    source, capacity = desired.sources["environment"], fleet.capacity
    here = ("fleets", name, "capacity")
    if capacity.min > capacity.max:
        yield source.finding(
            (*here, "min"), f"{capacity.min} is more than max ({capacity.max})",
            f"lower min to {capacity.max} or raise max to {capacity.min}",
        )  # fmt: skip
    elif capacity.desired < capacity.min:
        yield source.finding(
            (*here, "desired"), f"{capacity.desired} is less than min ({capacity.min})",
            f"write {capacity.min} to {capacity.max}",
        )  # fmt: skip
    elif capacity.desired > capacity.max:
        yield source.finding(
            (*here, "desired"), f"{capacity.desired} is more than max ({capacity.max})",
            f"write {capacity.min} to {capacity.max}",
        )  # fmt: skip
    if fleet.purchase.on_demand_base > capacity.max:
        yield source.finding(
            ("fleets", name, "purchase", "on_demand_base"),
            f"{fleet.purchase.on_demand_base} is more than max ({capacity.max})",
            f"write {capacity.max} at most",
        )


def _warm_pool(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    """Warm pools are of on-demand groups, and of one type until several were seen on AWS.

    PutWarmPool refuses Spot; groups with a mixed-instances policy it takes since November 2025.
    https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutWarmPool.html
    """
    source, pool = desired.sources["environment"], fleet.warm_pool
    if pool is None:
        return
    here = ("fleets", name, "warm_pool")
    groups = split(fleet)
    if len(fleet.instance_types) > 1:
        yield source.finding(
            ("fleets", name, "instance_types"),
            "a warm pool allows one instance type only (several are not supported yet)",
            f"keep {fleet.instance_types[0]}, or remove warm_pool",
        )
    if groups.on_demand.max == 0:
        yield source.finding(
            here, "Spot instances cannot be kept warm, and this fleet buys nothing else",
            "lower purchase.spot_percentage, or remove warm_pool",
        )  # fmt: skip
    elif groups.spot is not None:
        yield source.finding(
            here, "prepares on-demand workers only; the Spot group always starts cold",
            warning=True,
        )  # fmt: skip
    if pool.max_prepared is not None and pool.max_prepared < pool.min:
        yield source.finding(
            (*here, "max_prepared"), f"{pool.max_prepared} is less than min ({pool.min})",
            f"write {pool.min} or more",
        )  # fmt: skip
    if pool.state == "Hibernated":
        yield source.finding(
            (*here, "state"), "GPU instances cannot hibernate", "write `Stopped` or `Running`"
        )
    if pool.state == "Running":
        yield source.finding(
            (*here, "state"), "running prepared workers cost as much as serving ones",
            "`Stopped` pays for storage only", warning=True,
        )  # fmt: skip


def _deadlines(desired: Desired, name: str, fleet: Fleet) -> Iterator[Finding]:
    source = desired.sources["environment"]
    if split(fleet).spot is not None and fleet.drain_deadline_s > SPOT_NOTICE_S:
        yield source.finding(
            ("fleets", name, "drain_deadline_s"),
            f"a Spot instance is taken {SPOT_NOTICE_S} s after its notice: longer streams there "
            "are cut",
            warning=True,
        )
    idle = desired.environment.router.idle_timeout_s
    if fleet.first_byte_s > idle:
        yield source.finding(
            ("fleets", name, "first_byte_timeout_s"),
            f"the load balancer cuts a silent stream after {idle} s "
            "(router.idle_timeout_s) already",
            f"write {idle} or less, or raise router.idle_timeout_s",
        )
    if fleet.warm_up.timeout_s > fleet.launch_timeout_s:
        yield source.finding(
            ("fleets", name, "launch_timeout_s"),
            f"shorter than its warm-up may take ({fleet.warm_up.timeout_s} s)",
            f"write {fleet.warm_up.timeout_s} or more, or lower warm_up.timeout_s",
        )
    if fleet.scaling is not None:
        yield source.finding(
            ("fleets", name, "scaling"), "is recorded, not yet acted on", "", warning=True
        )
