"""How sglctl runs sglocal: its error becomes ours, once."""

from __future__ import annotations

from pathlib import Path

import pytest

from sglctl import local
from sglctl.errors import LocalError


def test_the_emulators_reason_is_the_message(
    tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "file").write_text("")
    with pytest.raises(LocalError) as caught:
        local._sglocal("up", [
            "--state-dir", str(tmp_path / "file" / "state"), "--cache-dir", str(tmp_path / "cache"),
            "--hosts", "processes", "--account", "123456789012", "--region", "us-east-1",
        ], 60.0)  # fmt: skip
    assert caught.value.message == f"cannot make {tmp_path}/file/state: Not a directory"
    assert capfd.readouterr() == ("", "")


def test_its_talk_goes_to_stderr(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    local._sglocal("down", ["--state-dir", str(tmp_path / "none")], 60.0)
    assert capfd.readouterr() == ("", "sglocal: nothing to remove\n")
