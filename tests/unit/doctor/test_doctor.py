"""What doctor says of tools, and the download of the pinned Terraform."""

from __future__ import annotations

import hashlib
import http.server
import io
import threading
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from sglctl.doctor import machine, terraform_release, tools
from sglctl.doctor.tools import TOOLS, Tool, judge, needed, packages_to_install, parse_version
from sglctl.errors import PreconditionError

BY_NAME = {tool.name: tool for tool in TOOLS}


@pytest.mark.parametrize(
    ("tool", "path", "output", "status"),
    [
        ("terraform", None, None, "missing"),
        ("terraform", "/bin/terraform", "Terraform v1.11.4\non linux_amd64", "ok"),
        ("terraform", "/bin/terraform", "Terraform v1.5.7", "old"),
        ("systemd-nspawn", "/bin/systemd-nspawn", "systemd 252 (252.36-1)", "ok"),
        ("packer", "/bin/packer", "Packer v1.6.6", "ok"),
        ("debootstrap", "/bin/debootstrap", None, "ok"),
    ],
)
def test_a_tool_is_judged_by_presence_and_version(
    tool: str, path: str | None, output: str | None, status: str
) -> None:
    assert judge(BY_NAME[tool], path, output).status == status


def test_every_bad_finding_names_the_command_that_mends_it() -> None:
    findings = [judge(tool, None, None) for tool in TOOLS]
    assert all(f.fix.startswith(("apt-get install ", "sglctl doctor")) for f in findings)


def test_a_library_is_found_where_the_linker_finds_it(monkeypatch: pytest.MonkeyPatch) -> None:
    """No program of its name is on PATH."""
    libc = Tool("c", "libc6", ("aws",), "is there", library=True)
    absent = Tool("no-such-library", "libnone1", ("aws",), "is not", library=True)
    monkeypatch.setattr(tools, "TOOLS", (libc, absent))
    found = machine.examine(["aws"])
    assert {name: f.status for name, f in found.items()} == {"c": "ok", absent.name: "missing"}
    assert found[absent.name].fix == "apt-get install libnone1"


def test_without_root_no_container_tool_is_needed() -> None:
    assert {t.name for t in needed(["aws", "local"], root=False)} == {"terraform", "haproxy"}


def test_packages_are_those_of_what_is_missing() -> None:
    findings = {
        "haproxy": judge(BY_NAME["haproxy"], None, None),
        "ip": judge(BY_NAME["ip"], "/sbin/ip", None),
        "terraform": judge(BY_NAME["terraform"], None, None),
    }
    assert packages_to_install(findings) == ["haproxy"]


def test_a_version_output_without_a_number_has_no_version() -> None:
    assert parse_version("unknown") is None


def release_zip() -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as bundle:
        bundle.writestr("terraform", "#!/bin/sh\necho pinned\n")
    return buffer.getvalue()


@pytest.fixture
def release_server(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[str, bytes]]:
    """A local release server that has this platform's archive."""
    archive = release_zip()
    name = terraform_release.release_platform()
    version = terraform_release.VERSION
    wanted = f"/terraform/{version}/terraform_{version}_{name}.zip"

    class Handler(http.server.BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            found = self.path == wanted
            self.send_response(200 if found else 404)
            self.end_headers()
            self.wfile.write(archive if found else b"")

        def log_message(self, *args: object) -> None:
            """Silence."""

    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    monkeypatch.setitem(terraform_release.SHA256, name, hashlib.sha256(archive).hexdigest())
    yield f"http://127.0.0.1:{server.server_port}", archive
    server.shutdown()
    server.server_close()
    thread.join(5)


def test_the_pinned_release_is_downloaded_and_made_executable(
    release_server: tuple[str, bytes], tmp_path: Path
) -> None:
    target = terraform_release.install(tmp_path / "bin", base_url=release_server[0])
    assert target.read_text() == "#!/bin/sh\necho pinned\n"
    assert target.stat().st_mode & 0o777 == 0o755


def test_a_release_with_another_hash_is_refused_and_nothing_is_written(
    release_server: tuple[str, bytes], tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(terraform_release.SHA256, terraform_release.release_platform(), "0" * 64)
    with pytest.raises(PreconditionError, match="not the pinned release"):
        terraform_release.install(tmp_path / "bin", base_url=release_server[0])
    assert not (tmp_path / "bin").exists()


def test_a_missing_release_says_where_it_looked(tmp_path: Path) -> None:
    with pytest.raises(PreconditionError, match=r"could not be downloaded from http://127\.0"):
        terraform_release.install(tmp_path, base_url="http://127.0.0.1:9", timeout_s=2)
