"""A key pair for the length of one run: put on the hosts by Run Command, and taken off again.

Images carry no key, and launch templates name none: nothing opens a live host for longer than
this process runs.
"""

from __future__ import annotations

import subprocess
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path

from sglctl.aws.run_command import RunCommand
from sglctl.errors import AnsibleError

_TIMEOUT_S = 60
_INSTALL = """set -eu
home=$(getent passwd {user} | cut -d: -f6)
install -d -m 0700 -o {user} -g {user} "$home/.ssh"
touch "$home/.ssh/authorized_keys"
chown {user}: "$home/.ssh/authorized_keys"
chmod 0600 "$home/.ssh/authorized_keys"
printf '%s\\n' '{key}' >> "$home/.ssh/authorized_keys"
"""
_REMOVE = """set -eu
file=$(getent passwd {user} | cut -d: -f6)/.ssh/authorized_keys
[ -f "$file" ] || exit 0
grep -vF '{comment}' "$file" > "$file.sglctl" || true
cat "$file.sglctl" > "$file"
rm -f "$file.sglctl"
[ -s "$file" ] || rm -f "$file"
"""


@contextmanager
def ephemeral_key(
    commands: RunCommand, instance_ids: Sequence[str], user: str, name: str
) -> Iterator[Path]:
    """Yield the private key's file; the hosts accept it for `user` until the block ends.

    `name` marks the key: what a run that was killed left behind, the next one of the same name
    removes.
    Raises AnsibleError when a host does not take it.
    """
    comment = f"sglctl-{name}"
    with tempfile.TemporaryDirectory(prefix="sglctl-key-") as folder:
        private = Path(folder) / "key"
        subprocess.run(
            ["ssh-keygen", "-q", "-t", "ed25519", "-N", "", "-C", comment, "-f", str(private)],
            check=True,
            timeout=30,
        )
        public = private.with_suffix(".pub").read_text(encoding="utf-8").strip()
        remove = _REMOVE.format(user=user, comment=comment)
        try:
            _on_all(commands, instance_ids, _INSTALL.format(user=user, key=public))
            yield private
        finally:
            commands.run(instance_ids, remove, timeout_s=_TIMEOUT_S)


def _on_all(commands: RunCommand, instance_ids: Sequence[str], script: str) -> None:
    for result in commands.run(instance_ids, script, timeout_s=_TIMEOUT_S).values():
        if not result.ok:
            raise AnsibleError(
                f"{result.instance_id} did not take the key of this run: "
                f"{result.status} {result.stderr.strip()[-200:]}",
                hint="Run Command must work on the host: sglctl status",
            )
