"""PutScalingPolicy answers PolicyARN; moto answers PolicyArn, which every client reads as nothing.

https://docs.aws.amazon.com/autoscaling/ec2/APIReference/API_PutScalingPolicy.html
"""

from __future__ import annotations

from typing import Any

from moto.autoscaling.responses import AutoScalingResponse
from moto.core.responses import ActionResult

from sglocal.aws.emulator import Emulator


def install(emulator: Emulator) -> None:
    """Spell the answer as the API does."""
    emulator.patches.wrap(AutoScalingResponse, "put_scaling_policy", _spelled)


def _spelled(original: Any) -> Any:
    def put_scaling_policy(response: Any) -> ActionResult:
        answer = original(response).result
        return ActionResult({"PolicyARN": answer["PolicyArn"], "Alarms": []})

    return put_scaling_policy
