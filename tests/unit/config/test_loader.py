"""Reading: places, all errors at once, precedence."""

from __future__ import annotations

import shutil
from pathlib import Path

import pytest

from sglctl.config.loader import InvalidConfigError, load
from sglctl.config.yamltext import parse
from sglctl.errors import ConfigError

from .conftest import Change

PROD = "environments/prod.yaml"

#: what is replaced, by what, and the finding that must come
WRONG = [
    ("regoin: us-east-1", "region: us-east-1",
     "config/environments/prod.yaml:2: regoin: unknown key (did you mean 'region'?)"),
    ("capcity: {min: 1, max: 4", "capacity: {min: 1, max: 4",
     "config/environments/prod.yaml:41: fleets.reason.capcity: unknown key "
     "(did you mean 'capacity'?)"),
    ("capacity: {mim: 1, max: 4", "capacity: {min: 1, max: 4",
     "config/environments/prod.yaml:41: fleets.reason.capacity.mim: unknown key "
     "(did you mean 'min'?)"),
    ("max: 4, desired: two", "max: 4, desired: 2",
     "config/environments/prod.yaml:41: fleets.reason.capacity.desired: must be a whole number, "
     "not 'two'"),
    ('max: 4, desired: "2"', "max: 4, desired: 2",
     "config/environments/prod.yaml:41: fleets.reason.capacity.desired: must be a whole number, "
     "not '2'"),
    ("capacity: {min: 1, max: 4}", "capacity: {min: 1, max: 4, desired: 2}",
     "config/environments/prod.yaml:41: fleets.reason.capacity.desired: missing (add `desired:`)"),
    ("instance_types: []", "instance_types: [g6e.xlarge]",
     "config/environments/prod.yaml:25: fleets.chat.instance_types: needs 1 or more entries"),
    ("account: 111122223333", 'account: "111122223333"',
     "config/environments/prod.yaml:3: account: must be text, not 111122223333 (put it in quotes)"),
    ('account: "1111"', 'account: "111122223333"',
     "config/environments/prod.yaml:3: account: '1111' does not match ^\\d{12}$"),
    ("nat: double", "nat: per_zone",
     "config/environments/prod.yaml:11: network.nat: 'double' is not one of 'single', 'per_zone' "
     "or 'none'"),
    ("instance_types: g6e.xlarge", "instance_types: [g6e.xlarge]",
     "config/environments/prod.yaml:25: fleets.chat.instance_types: must be a list, "
     "not 'g6e.xlarge'"),
    ("instance_types: [g6exlarge]", "instance_types: [g6e.xlarge]",
     "config/environments/prod.yaml:25: fleets.chat.instance_types[0]: 'g6exlarge' does not match "
     "^[a-z0-9-]+\\.[a-z0-9-]+$"),
    ("      min: 1\n      min: 2\n", "      min: 1\n",
     "config/environments/prod.yaml:30: fleets.chat.warm_pool.min: duplicate key, first on line 29 "
     "(keep one of them)"),
    ("tags: &t {team: ml", "tags: {team: ml",
     "config/environments/prod.yaml:6: tags: anchors are not used here (write the value out)"),
    ("a-name-of-17-char:\n    model: deepseek-r1", "chat:\n    model: deepseek-r1",
     "config/environments/prod.yaml:23: fleets.a-name-of-17-char: 'a-name-of-17-char' is not a "
     "valid name (String should have at most 16 characters)"),
]  # fmt: skip


@pytest.mark.parametrize(("new", "old", "expected"), WRONG)
def test_an_error_names_file_line_key_and_what_to_write(
    changed: Change, new: str, old: str, expected: str
) -> None:
    """One change, one line."""
    with pytest.raises(InvalidConfigError) as caught:
        load(changed(PROD, old, new), "prod")
    assert [str(finding) for finding in caught.value.findings] == [expected]


def test_all_errors_of_all_files_come_at_once(changed: Change) -> None:
    """Schema errors, a duplicate key and another file's error, in one message."""
    changed(PROD, "region: us-east-1", "region: us-east-1\nregion: us-west-2\nfoo: 1")
    changed(PROD, "nat: per_zone", "nat: 1")
    config_dir = changed("models/deepseek-r1-distill-llama-8b.yaml", "parameters: 8", "params: 8")
    with pytest.raises(ConfigError) as caught:
        load(config_dir, "prod")
    lines = caught.value.message.splitlines()
    assert lines[0] == "4 errors in config/:"
    keys = [line.split(": ")[1] for line in lines[1:]]
    assert keys == ["region", "foo", "network.nat", "params"]
    assert caught.value.exit_code == 3


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: [1, 2", "not YAML"),
        ("a: 'x", "not YAML"),
        ("\tfleets: 1", "not YAML"),
        ("a: !!python/object:os.system {}", "tags are not used here"),
        ("", "must be a mapping of keys"),
        ("fleets: {a: {model: [x]}}", "must be text"),
        ("fleets: 7", "must be a mapping"),
        ("- 1", "must be a mapping of keys"),
        ("a: &x 1\nb: *x", "aliases are not used here"),
    ],
)
def test_broken_yaml_is_one_clear_error(changed: Change, text: str, message: str) -> None:
    """No traceback, and a place."""
    config_dir = changed(PROD)
    with pytest.raises(InvalidConfigError) as caught:
        load(config_dir, "prod", text=text)
    assert any(message in finding.message for finding in caught.value.findings)
    assert all(finding.line >= 1 for finding in caught.value.findings)


def test_an_alias_bomb_is_refused_in_linear_time() -> None:
    """Aliases are never expanded."""
    lines = ["a0: &a0 [x]"]
    lines += [f"a{n}: &a{n} [{', '.join([f'*a{n - 1}'] * 9)}]" for n in range(1, 20)]
    parsed = parse("\n".join(lines), Path("bomb.yaml"))
    assert len(parsed.findings) == 20 + 19 * 9


def test_an_unknown_environment_names_the_nearest(config_dir: Path) -> None:
    """The usual typing error."""
    with pytest.raises(ConfigError, match="no environment 'pord'") as caught:
        load(config_dir, "pord")
    assert caught.value.hint == "did you mean 'prod'?"


def test_a_folder_in_an_environments_place_is_no_environment(
    config_dir: Path, tmp_path: Path
) -> None:
    """It must not be proposed as what was meant, either."""
    config_dir = shutil.copytree(config_dir, tmp_path / "config")
    (config_dir / "environments" / "stage.yaml").mkdir()
    with pytest.raises(ConfigError, match=r"stage\.yaml is no file") as caught:
        load(config_dir, "stage")
    assert "'stage'" not in (caught.value.hint or "")


@pytest.mark.parametrize("name", ["../prod", "Prod", "a-very-long-name", ""])
def test_a_bad_environment_name_is_refused(config_dir: Path, name: str) -> None:
    """It would become part of AWS names, or leave the folder."""
    with pytest.raises(ConfigError, match="is not a name of an environment"):
        load(config_dir, name)


def test_an_unreadable_file_is_an_error_of_that_file(changed: Change) -> None:
    """Not an empty catalogue."""
    config_dir = changed(PROD)
    (config_dir / "instances.yaml").unlink()
    with pytest.raises(ConfigError, match=r"instances.yaml:1: cannot be read: No such file"):
        load(config_dir, "prod")


def test_flag_wins_over_variable_over_file(config_dir: Path) -> None:
    """The documented precedence, step by step."""
    variables = {"SGLCTL_REGION": "eu-west-1"}

    def region(flags: dict[str, str], environ: dict[str, str]) -> str:
        return load(config_dir, "prod", overrides=flags, environ=environ).environment.region

    assert region({}, {}) == "us-east-1"
    assert region({}, variables) == "eu-west-1"
    assert region({"region": "eu-north-1"}, variables) == "eu-north-1"


def test_variables_of_the_process_are_read(
    config_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Without `environ` the process's own count."""
    monkeypatch.setenv("SGLCTL_RELEASE", "local")
    desired = load(config_dir, "prod")
    assert desired.environment.release == "local"
    assert desired.release is not None
    assert desired.release.base_images.worker.name == "sglocal-debian-12"
