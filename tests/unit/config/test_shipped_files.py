"""The files in config/ as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglctl.config.base import Strict
from sglctl.config.catalogue import Instance, ModelEntry
from sglctl.config.check import check_all
from sglctl.config.desired import hardware_of, settings_of
from sglctl.config.fit import fit
from sglctl.config.fleet import Capacity, Fleet
from sglctl.config.loader import environments, load, models_known, read_file
from sglctl.config.reference import KINDS, json_schema, markdown
from sglctl.config.validate import errors_of, validate

from .conftest import ENVIRONMENTS, REPOSITORY

MODELS = models_known(REPOSITORY / "config")
NAMED = {
    "tiny", "deepseek-r1-distill-llama-8b", "deepseek-r1-distill-qwen-32b-awq",
    "llama-3.3-70b-instruct-fp8", "gpt-oss-20b", "gpt-oss-120b", "qwen3-next-80b-a3b-instruct",
    "mistral-7b-instruct-v0.3", "qwen2-1.5b", "opt-125m",
}  # fmt: skip


def test_there_are_these_environments_and_every_promised_model(config_dir: Path) -> None:
    """Names are what people type."""
    assert set(environments(config_dir)) == set(ENVIRONMENTS)
    assert set(MODELS) >= NAMED


def test_nothing_shipped_is_wrong(config_dir: Path) -> None:
    """Every environment, model and release passes `sglctl validate --all`."""
    _, findings = check_all(config_dir)
    assert errors_of(findings) == []


@pytest.mark.parametrize("name", MODELS)
def test_every_model_is_pinned_and_fits_somewhere_with_its_full_context(
    config_dir: Path, name: str
) -> None:
    """The catalogue's settings lead to at least one instance type that can serve the model."""
    model, _, wrong = read_file(config_dir / "models" / f"{name}.yaml", ModelEntry)
    assert wrong == []
    assert model is not None
    assert model.source.generate or model.source.revision
    assert _fitting(config_dir, name, model)


def _fitting(config_dir: Path, name: str, model: ModelEntry) -> list[str]:
    types: dict[str, Instance] = load(config_dir, "local").instances.instances
    capacity = Capacity(min=1, max=1, desired=1)
    found = []
    for instance_type, instance in types.items():
        hardware = hardware_of(model, instance_type, instance)
        if hardware is None:
            continue
        fleet = Fleet(model=name, instance_types=(instance_type,), capacity=capacity)
        settings = settings_of(fleet, model, hardware)
        if settings.tensor_parallel <= max(1, instance.gpus):
            found += [instance_type] if fit(model, settings, instance).fits else []
    return found


@pytest.mark.parametrize("name", MODELS)
def test_hardware_settings_name_instances_that_exist(config_dir: Path, name: str) -> None:
    """A typing error in a hardware key would silently never apply."""
    model, _, _ = read_file(config_dir / "models" / f"{name}.yaml", ModelEntry)
    assert model is not None
    types = load(config_dir, "local").instances.instances
    families = {instance_type.split(".")[0] for instance_type in types}
    assert set(model.hardware) <= families | set(types) | {"cpu"}


def test_every_gpu_family_is_in_the_catalogue_and_complete(config_dir: Path) -> None:
    """GPU instances have GPU name, memory, capability and price."""
    types = load(config_dir, "local").instances.instances
    gpu = {name: instance for name, instance in types.items() if instance.gpus}
    families = {name.split(".")[0] for name in gpu}
    assert families == {"g4dn", "g5", "g6", "g6e", "gr6", "p4d", "p5"}
    for name, instance in gpu.items():
        assert instance.gpu, name
        assert instance.gpu_memory_gib >= 16, name
        assert instance.compute_capability, name
        assert instance.usd_per_hour, name


def test_a_rehearsal_of_production_starts_four_workers_at_most(config_dir: Path) -> None:
    """Desired and warm workers together run on one small machine."""
    fleets = load(config_dir, "prod").environment.fleets.values()
    workers = [f.capacity.desired + (f.warm_pool.min if f.warm_pool else 0) for f in fleets]
    assert sum(workers) <= 4
    assert len(workers) >= 2


def test_production_is_guarded_encrypted_and_authenticated(config_dir: Path) -> None:
    """Account guard, TLS and keys."""
    prod = load(config_dir, "prod").environment
    assert prod.account == "111122223333"
    assert prod.router.tls is not None
    assert prod.router.api_keys
    assert prod.router.listener_port == 443


@pytest.mark.parametrize("environment", ENVIRONMENTS)
def test_environments_do_not_share_addresses(config_dir: Path, environment: str) -> None:
    """Two networks with one range could never be peered."""
    cidrs = [load(config_dir, name).environment.network.cidr for name in ENVIRONMENTS]
    assert cidrs.count(load(config_dir, environment).environment.network.cidr) == 1


def test_the_reference_page_is_what_the_models_say(config_dir: Path) -> None:
    """docs/reference/config.md is made, never edited."""
    page = config_dir.parent / "docs" / "reference" / "config.md"
    assert page.read_text(encoding="utf-8") == markdown()


def _models(model: type[Strict]) -> list[type[Strict]]:
    found = [model]
    for base in found:
        for sub in Strict.__subclasses__():
            if sub not in found and sub.__name__ in json_names(base):
                found.append(sub)
    return found


def json_names(model: type[Strict]) -> set[str]:
    return set(model.model_json_schema().get("$defs", {}))


@pytest.mark.parametrize("kind", KINDS)
def test_every_field_has_a_description(kind: str) -> None:
    """Schema, editors and the reference page live on them."""
    for model in _models(KINDS[kind][0]):  # type: ignore[arg-type]
        for name, field in model.model_fields.items():
            assert field.description, f"{model.__name__}.{name}"


@pytest.mark.parametrize("kind", KINDS)
def test_the_json_schema_refuses_unknown_keys(kind: str) -> None:
    """Editors underline what validate would refuse."""
    schema = json_schema(kind)
    assert schema["additionalProperties"] is False
    assert all(part.get("additionalProperties") is False for part in schema["$defs"].values())


def test_validate_warns_of_nothing_new_in_production(config_dir: Path) -> None:
    """The known warnings, so that another one is noticed."""
    keys = {finding.key for finding in validate(load(config_dir, "prod"))}
    assert keys == {"fleets.chat.scaling", "fleets.reason.drain_deadline_s"}
