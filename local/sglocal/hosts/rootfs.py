"""Write a host's identity into its disk before it boots.

The disk may come from an image that somebody else's root has written: a symbolic link in it must
never lead a write out of it, so every path is walked with O_NOFOLLOW.
"""

from __future__ import annotations

import os
import shlex
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path, PurePosixPath

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ed25519

from sglocal.hosts.driver import HostError, HostSpec
from sglocal.hosts.names import host_name

# What a unit's EnvironmentFile= carries on local hosts (docs/reference/interfaces.md).
AWS_VARIABLES = ("AWS_ENDPOINT_URL", "AWS_REGION")


def write_identity(root: Path, spec: HostSpec) -> None:
    """Host name, hosts file, machine id, ssh keys and /etc/sglctl/aws.env; replaces an image's."""
    private, public = host_key()
    name = host_name(spec.address)
    write(root, "etc/hostname", f"{name}\n")
    write(root, "etc/hosts", f"127.0.0.1 localhost\n{spec.address} {name} {spec.instance_id}\n")
    write(root, "etc/resolv.conf", "# no name server: local hosts use addresses only\n")
    write(root, "etc/machine-id", "")
    # An empty machine id is filled from D-Bus's, if an image has one: the same on every host.
    _remove(root, "var/lib/dbus/machine-id")
    for key in _names(root, "etc/ssh"):
        if key.startswith("ssh_host_"):
            _remove(root, f"etc/ssh/{key}")
    write(root, "etc/ssh/ssh_host_ed25519_key", private, mode=0o600)
    write(root, "etc/ssh/ssh_host_ed25519_key.pub", public)
    keys = "".join(f"{key.strip()}\n" for key in spec.authorized_keys)
    write(root, "root/.ssh/authorized_keys", keys, mode=0o600, folder_mode=0o700)
    write(root, "etc/sglctl/aws.env", environment_file(spec.environment))


def host_key() -> tuple[str, str]:
    """A new Ed25519 ssh host key: (private, public) as OpenSSH writes them."""
    key = ed25519.Ed25519PrivateKey.generate()
    private = key.private_bytes(
        serialization.Encoding.PEM,
        serialization.PrivateFormat.OpenSSH,
        serialization.NoEncryption(),
    )
    public = key.public_key().public_bytes(
        serialization.Encoding.OpenSSH, serialization.PublicFormat.OpenSSH
    )
    return private.decode(), public.decode() + "\n"


def environment_file(environment: Mapping[str, str]) -> str:
    """aws.env, as systemd and shells read it. Raises HostError on a value with a line feed."""
    lines = []
    for name in AWS_VARIABLES:
        if (value := environment.get(name)) is not None:
            if "\n" in value:
                raise HostError(f"environment variable {name}={value!r} does not fit on one line")
            lines.append(f"{name}={shlex.quote(value)}\n")
    return "".join(lines)


def write(root: Path, path: str, text: str, *, mode: int = 0o644, folder_mode: int = 0o755) -> None:
    """Write a new file at `path` below `root`, replacing a file or link of that name."""
    with _folder(root, PurePosixPath(path).parent, folder_mode) as folder:
        name = PurePosixPath(path).name
        _unlink(folder, name)
        flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
        handle = os.open(name, flags, mode, dir_fd=folder)
        with os.fdopen(handle, "w") as file:
            os.fchmod(handle, mode)  # not subject to the umask
            file.write(text)


def _names(root: Path, path: str) -> list[str]:
    with _folder(root, PurePosixPath(path), 0o755) as folder:
        return os.listdir(folder)  # noqa: PTH208 - a handle, not a path


def _remove(root: Path, path: str) -> None:
    with _folder(root, PurePosixPath(path).parent, 0o755) as folder:
        _unlink(folder, PurePosixPath(path).name)


def _unlink(folder: int, name: str) -> None:
    try:
        os.unlink(name, dir_fd=folder)
    except FileNotFoundError:
        return


@contextmanager
def _folder(root: Path, path: PurePosixPath, mode: int) -> Iterator[int]:
    """A handle of the folder `path` below `root`, made where missing, never through a link."""
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW
    handle = os.open(root, flags)
    try:
        for part in path.parts:
            try:
                inner = os.open(part, flags, dir_fd=handle)
            except FileNotFoundError:
                os.mkdir(part, mode, dir_fd=handle)
                inner = os.open(part, flags, dir_fd=handle)
            except OSError as error:
                raise HostError(f"{path} in {root}: {part} is no plain folder") from error
            os.close(handle)
            handle = inner
        yield handle
    finally:
        os.close(handle)
