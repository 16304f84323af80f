"""Every case on the emulator, on a virtual clock; on AWS too when asked for.

AWS: `SGLCTL_CONTRACT_AWS=1` with credentials of an account where instances may be started.
It costs a few cents of the smallest instances, and removes everything it made.
"""

from __future__ import annotations

import os
import uuid

import pytest
from aws_world import AwsWorld
from case_files import Case, load
from reference import DOCUMENT, current
from scaling_cases import Runner
from scaling_world import VirtualWorld

CASES = load()
IDS = [f"{file}: {case.name}" for file, case in CASES]
# EC2 boots in a minute or two where hosts on paper take a second.
AWS_PATIENCE = 10.0


@pytest.mark.parametrize("case", [case for _, case in CASES], ids=IDS)
def test_the_emulator_behaves_as_documented(case: Case, world: VirtualWorld) -> None:
    name = f"case-{uuid.uuid4().hex[:8]}"
    try:
        Runner(world, name).run(case)
    finally:
        world.remove_group(name)


@pytest.mark.skipif(
    os.environ.get("SGLCTL_CONTRACT_AWS") != "1",
    reason="runs on real AWS only with SGLCTL_CONTRACT_AWS=1 and credentials",
)
@pytest.mark.timeout(3600)
@pytest.mark.parametrize("case", [case for _, case in CASES], ids=IDS)
def test_aws_behaves_as_documented(case: Case) -> None:
    if case.emulator_only:
        pytest.skip(case.emulator_only)
    world = AwsWorld(f"sglctl-contract-{uuid.uuid4().hex[:8]}")
    try:
        Runner(world, world.name, patience=AWS_PATIENCE).run(case)
    finally:
        world.close()


def test_every_case_names_a_page_of_awss_documentation() -> None:
    strangers = [
        case.rests_on
        for _, case in CASES
        if not case.rests_on.startswith(("https://docs.aws.amazon.com/", "https://aws.amazon.com/"))
    ]
    assert strangers == []


def test_the_reference_is_generated_from_the_cases_and_the_silent_list() -> None:
    text = DOCUMENT.read_text()
    assert text == current(text), "run: python tests/contract/autoscaling/reference.py"
