"""`sglctl validate` and `sglctl config`, as run."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from sglctl.errors import ConfigError
from sglctl.main import cli

from .conftest import REPOSITORY, Change


def _run(*args: str, root: Path = REPOSITORY) -> Result:
    return CliRunner().invoke(cli, [*args, "--root", str(root)])


def _repository(config_dir: Path) -> Path:
    return config_dir.parent


def test_validate_says_what_was_checked() -> None:
    """Exit code 0, warnings shown."""
    result = _run("validate", "--env", "prod")
    assert result.exit_code == 0
    assert result.stdout.splitlines()[-1] == "environment prod: no errors, 2 warnings"


def test_validate_prints_every_error_and_exits_3(changed: Change) -> None:
    """As JSON, with file, line, key and fix."""
    config_dir = changed("environments/dev.yaml", "max: 2", "mx: 2", "count: 2", "count: two")
    result = _run("validate", "--env", "dev", "--output", "json", root=_repository(config_dir))
    assert result.exit_code == 3
    document = json.loads(result.stdout)["result"]
    assert not document["valid"]
    assert [(f["line"], f["key"], f["fix"]) for f in document["findings"]] == [
        (15, "router.count", ""),
        (25, "fleets.chat.capacity.mx", "did you mean 'max'?"),
    ]


def test_validate_all_reads_what_no_environment_uses(changed: Change) -> None:
    """An unused model may be wrong as well."""
    config_dir = changed("models/opt-125m.yaml", "layers: 12", "layers: 0")
    root = _repository(config_dir)
    assert _run("validate", "--env", "prod", root=root).exit_code == 0
    result = _run("validate", "--all", root=root)
    assert result.exit_code == 3
    assert "config/models/opt-125m.yaml:10: architecture.layers: must be" in result.stdout


def test_strict_makes_warnings_count(changed: Change) -> None:
    """For CI."""
    assert _run("validate", "--env", "prod", "--strict").exit_code == 3
    assert _run("validate", "--env", "local", "--strict").exit_code == 0


@pytest.mark.parametrize("kind", ["environment", "model", "release", "instances"])
def test_schema_prints_json_schema(kind: str) -> None:
    """With --output json, too: programs read it as it is."""
    plain = _run("config", "schema", "--kind", kind)
    wrapped = _run("config", "schema", "--kind", kind, "--output", "json")
    assert plain.stdout == wrapped.stdout
    assert json.loads(plain.stdout)["additionalProperties"] is False


def test_the_shipped_files_pass_their_json_schema(tmp_path: Path) -> None:
    """An independent validator agrees with the models."""
    for kind, files in {
        "environment": "environments/*.yaml", "model": "models/*.yaml",
        "release": "releases/*.yaml", "instances": "instances.yaml",
    }.items():  # fmt: skip
        schema = tmp_path / f"{kind}.json"
        schema.write_text(_run("config", "schema", "--kind", kind).stdout)
        paths = [str(path) for path in sorted((REPOSITORY / "config").glob(files))]
        checked = subprocess.run(
            [sys.executable, "-m", "check_jsonschema", "--schemafile", str(schema), *paths],
            capture_output=True, text=True, timeout=120, check=False,
        )  # fmt: skip
        assert checked.returncode == 0, checked.stdout + checked.stderr


def test_render_shows_unknown_images_honestly() -> None:
    """Nothing is looked up, nothing is invented."""
    result = _run(
        "config", "render", "--kind", "terraform", "--image", "router=ami-7", "--env", "local"
    )
    variables = json.loads(result.stdout)
    assert variables["router"]["image_id"] == "ami-7"
    assert variables["fleets"]["chat"]["image_id"] == "<unresolved: worker-tiny>"


def test_render_all_has_every_kind() -> None:
    """And warnings go to stderr, so that stdout stays JSON."""
    result = _run("config", "render", "--env", "prod")
    assert list(json.loads(result.stdout)) == ["terraform", "packer", "ansible", "router", "worker"]
    assert "warning: config/environments/prod.yaml" in result.stderr


def test_render_refuses_an_image_nobody_uses() -> None:
    """A typing error would otherwise print `<unresolved>` and be missed."""
    result = _run("config", "render", "--image", "worker-tny=ami-1", "--env", "local")
    assert result.exit_code == 2
    assert "images: router, worker-tiny" in result.stderr


def test_render_refuses_what_is_not_valid(changed: Change) -> None:
    """No artefact of a configuration that validate would refuse."""
    config_dir = changed("environments/dev.yaml", "max: 2", "max: 0")
    result = _run("config", "render", "--env", "dev", root=_repository(config_dir))
    assert isinstance(result.exception, ConfigError)
    assert "1 is more than max (0)" in str(result.exception)


def test_the_region_flag_reaches_the_artefacts() -> None:
    """Flag over file."""
    result = _run("config", "render", "--kind", "packer", "--region", "eu-west-1", "--env", "dev")
    assert json.loads(result.stdout)["router"]["region"] == "eu-west-1"
