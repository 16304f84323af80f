"""Load balancers that are active at once and answer at 127.0.0.1.

moto invents a DNS name and reports `provisioning` once, which costs Terraform half a minute.
https://docs.aws.amazon.com/elasticloadbalancing/latest/APIReference/API_LoadBalancer.html
"""

from __future__ import annotations

from typing import Any

from moto.elbv2.models import ELBv2Backend

from sglocal.aws.emulator import Emulator

ADDRESS = "127.0.0.1"


def install(emulator: Emulator) -> None:
    """Let CreateLoadBalancer answer what the local load balancer really is."""

    def wrap(original: Any) -> Any:
        def create_load_balancer(*args: Any, **kwargs: Any) -> Any:
            balancer = original(*args, **kwargs)
            balancer.state, balancer.dns_name = "active", ADDRESS
            emulator.wake()
            return balancer

        return create_load_balancer

    emulator.patches.wrap(ELBv2Backend, "create_load_balancer", wrap)
