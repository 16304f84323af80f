"""The house rules that Terraform itself does not check, and the contract with the other parts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
SOURCE = ROOT / "terraform"
MODULES = sorted(path.parent for path in SOURCE.rglob("versions.tf"))
FILES = sorted(SOURCE.rglob("*.tf"))


def named(path: Path) -> str:
    """How a test calls a file or folder."""
    return str(path.relative_to(SOURCE))


def blocks(text: str, kind: str) -> list[tuple[str, str]]:
    """Top-level blocks `kind "name" {…}` of a formatted file, in order: (name, body)."""
    return re.findall(rf'^{kind} "([^"]+)" \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL)


def contract(heading: str) -> str:
    """One section of the page on which the parts agree."""
    page = (ROOT / "docs/reference/interfaces.md").read_text(encoding="utf-8")
    found = re.search(rf"^## {re.escape(heading)}.*?$(.*?)^## ", page, re.MULTILINE | re.DOTALL)
    assert found is not None, heading
    return found.group(1)


def example() -> dict[str, Any]:
    """The variables of the contract's example, its comments left out."""
    found = re.search(r"```jsonc\n(.*?)```", contract("Terraform variables"), re.DOTALL)
    assert found is not None
    bare = re.sub(r"\s//.*$", "", found.group(1), flags=re.MULTILINE)
    document: dict[str, Any] = json.loads(bare)
    return document


@pytest.mark.parametrize("path", FILES, ids=named)
def test_a_file_is_one_entity_and_short(path: Path) -> None:
    """Only the lists of variables are longer than 150 lines."""
    lines = len(path.read_text(encoding="utf-8").splitlines())
    assert lines <= (200 if path.name == "variables.tf" else 150)


@pytest.mark.parametrize("module", MODULES, ids=named)
@pytest.mark.parametrize("kind", ["variable", "output"])
def test_variables_and_outputs_are_sorted_and_described(module: Path, kind: str) -> None:
    """Alphabetical, each with a description; variables with a type."""
    path = module / f"{kind}s.tf"
    found = blocks(path.read_text(encoding="utf-8"), kind)
    names = [name for name, _ in found]
    assert names
    assert names == sorted(names)
    for name, body in found:
        assert re.search(r'^  description += "[A-Z].*[.]"$', body, re.MULTILINE), name
        assert kind == "output" or re.search(r"^  type +=", body, re.MULTILINE), name


@pytest.mark.parametrize("module", MODULES, ids=named)
def test_every_constraint_has_a_run_that_breaks_it(module: Path) -> None:
    """A run that fails for each validation of a variable, and for each other check."""
    tests = "\n".join(path.read_text(encoding="utf-8") for path in (module / "tests").glob("*.hcl"))
    expected = re.findall(r"expect_failures = \[(.*?)\]", tests)
    broken = [name.strip() for names in expected for name in names.split(",")]
    for name, body in blocks((module / "variables.tf").read_text(encoding="utf-8"), "variable"):
        validations = body.count("\n  validation {")
        assert broken.count(f"var.{name}") >= validations, f"{name}: {validations} validations"
    for path in module.glob("*.tf"):
        text = path.read_text(encoding="utf-8")
        for kind, prefix in (('data "[^"]+"', "data."), ("output", "output.")):
            for address, body in re.findall(
                rf'^({kind}(?: "[^"]+")) \{{\n(.*?)^\}}', text, re.MULTILINE | re.DOTALL
            ):
                if re.search(r"^ +(pre|post)condition \{", body, re.MULTILINE):
                    target = prefix + ".".join(re.findall(r'"([^"]+)"', address))
                    assert target in broken, target


@pytest.mark.parametrize("path", FILES, ids=named)
def test_policy_is_not_left_to_chance(path: Path) -> None:
    """No provisioners, random names or `latest` images; no label `this`."""
    text = path.read_text(encoding="utf-8")
    for banned in (r"\bprovisioner \"", r"\brandom_", r"\bmost_recent\b.*ami", r'" "this" \{'):
        assert not re.search(banned, text), banned


def test_the_root_module_takes_what_the_contract_says() -> None:
    """Top-level keys of the example, no more and no less."""
    document = example()
    text = (SOURCE / "environment/variables.tf").read_text(encoding="utf-8")
    assert {name for name, _ in blocks(text, "variable")} == set(document)


def test_every_field_of_the_contract_has_a_type() -> None:
    """The fields of network, router, fleets and observability are those of the example."""
    document = example()
    text = (SOURCE / "environment/variables.tf").read_text(encoding="utf-8")
    types = dict(blocks(text, "variable"))
    for name in ("network", "router", "observability"):
        fields = types[name].partition("\n  })\n")[0]
        assert set(re.findall(r"^    (\w+) +=", fields, re.MULTILINE)) == set(document[name])
    fields = types["fleets"].partition("\n  }))\n")[0]
    assert set(re.findall(r"^    (\w+) +=", fields, re.MULTILINE)) == set(
        document["fleets"]["chat"]
    )


def test_the_root_module_gives_what_the_contract_says() -> None:
    """Outputs of the section's last paragraph."""
    line = re.search(r"^Outputs: (.*)$", contract("Terraform variables"), re.MULTILINE)
    assert line is not None
    promised = set(re.findall(r"`([a-z_]+)`", re.sub(r"\(.*?\)(?=,|\.)", "", line.group(1))))
    text = (SOURCE / "environment/outputs.tf").read_text(encoding="utf-8")
    assert {name for name, _ in blocks(text, "output")} == promised


def test_the_lock_file_pins_every_platform() -> None:
    """Both root modules pin one provider, with the checksums of all platforms' packages."""
    locks = [SOURCE / root / ".terraform.lock.hcl" for root in ("bootstrap", "environment")]
    texts = [lock.read_text(encoding="utf-8") for lock in locks]
    hashes = [set(re.findall(r'"((?:h1|zh):[^"]+)"', text)) for text in texts]
    assert hashes[0] == hashes[1]
    assert len([each for each in hashes[0] if each.startswith("zh:")]) > 10
    assert all('version     = "5.100.0"' in text for text in texts)
