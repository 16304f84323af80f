"""One environment, opened: its files, its account, its state, its Terraform."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from sglctl import local
from sglctl.aws import state_bucket
from sglctl.aws.image_ids import image_ids
from sglctl.aws.session import Session, connect
from sglctl.aws.state_lock import is_own, read_lock
from sglctl.config.desired import Desired
from sglctl.config.loader import load
from sglctl.config.render import render_terraform
from sglctl.config.validate import require_valid
from sglctl.context import Context
from sglctl.errors import PreconditionError
from sglctl.output import say
from sglctl.terraform.adapter import Backend, Terraform
from sglctl.terraform.process import Cancelled

ROOT_MODULE = Path("terraform") / "environment"
_STAMP = "initialised"


@dataclass(frozen=True)
class Workspace:
    """`digest`: of what a plan rests on (variables and modules), so a stale one is refused."""

    context: Context
    desired: Desired
    session: Session
    backend: Backend
    terraform: Terraform
    digest: str

    def init(self, *, create_bucket: bool) -> None:
        """Make the state bucket where it may and must, connect Terraform; quick when done."""
        if not state_bucket.exists(self.session, self.backend.bucket):
            if not create_bucket:
                raise PreconditionError(
                    f"{self.context.environment} has no state yet: the bucket "
                    f"{self.backend.bucket} does not exist",
                    hint=f"sglctl deploy --env {self.context.environment}",
                )
            say(f"Making the state bucket {self.backend.bucket}")
        if create_bucket:
            state_bucket.ensure(self.session, self.backend.bucket)
        stamp = self.context.state_dir / "terraform" / _STAMP
        wanted = _init_digest(self.context.root, self.backend)
        if stamp.is_file() and stamp.read_text(encoding="utf-8") == wanted:
            return
        with self.cancellable():
            self.terraform.init(self.backend)
        stamp.parent.mkdir(parents=True, exist_ok=True)
        stamp.write_text(wanted, encoding="utf-8")

    @contextmanager
    def cancellable(self) -> Iterator[None]:
        """Give the lock back when a cancelled Terraform had to be killed while it held it."""
        started = datetime.now(UTC)
        try:
            yield
        except Cancelled as cancelled:
            if not cancelled.clean:
                self._release(started)
            raise

    def _release(self, since: datetime) -> None:
        lock = read_lock(self.session, self.backend)
        if lock is not None and is_own(lock, since):
            self.terraform.force_unlock(lock.lock_id)
            say(f"Terraform had to be killed; its lock {lock.lock_id} was given back")


def load_valid(context: Context) -> Desired:
    """The environment's files, checked; warnings are said. Raises ConfigError."""
    desired = load(context.config_dir, context.environment)
    for warning in require_valid(desired):
        say(f"warning  {warning}")
    return desired


def reach(context: Context) -> tuple[Desired, Session]:
    """Checked files and a session whose account is the right one; says when it is emulated."""
    desired = load_valid(context)
    return desired, connected(context, desired)


def connected(context: Context, desired: Desired) -> Session:
    """A session for an environment; says when it is not where one would think."""
    session = connect(context.environment, desired.environment, local.running(context))
    if session.emulated and not desired.is_local:
        say(f"Note: {context.environment} is emulated at {session.endpoint}, this is not AWS")
    return session


def open_workspace(
    context: Context,
    desired: Desired,
    session: Session,
    images: Mapping[str, str] | None = None,
) -> Workspace:
    """Render the variables and bind Terraform to the environment's state.

    `images` None: those there are now. Raises ConfigError naming the images that are missing.
    """
    found = images if images is not None else current_images(context, desired, session)
    return _bind(
        context,
        desired,
        session,
        render_terraform(desired, images=found, emulated=session.emulated),
    )


def open_for_removal(context: Context, desired: Desired, session: Session) -> Workspace:
    """Like `open_workspace`, for `destroy`, which needs no image to exist any more."""
    known = image_ids(session, desired)
    names = _image_names(desired)
    filler = {name: known.get(name, "ami-00000000000000000") for name in names}
    variables = render_terraform(desired, images=filler, emulated=session.emulated)
    return _bind(context, desired, session, variables)


def current_images(context: Context, desired: Desired, session: Session) -> dict[str, str]:
    """The images `deploy` would use now; of those it would make anew, the newest there is."""
    from sglctl.images import ensure_images

    chosen = ensure_images(replace(context, dry_run=True), desired, session, lambda _line: None)
    fallback = image_ids(session, desired)
    result: dict[str, str] = {}
    for name, image_id in chosen.items():
        if image_id:
            result[name] = image_id
        elif name in fallback:
            say(f"warning  what {name} is made of changed; planning with {fallback[name]}, "
                "deploy or `image build` makes a new one")  # fmt: skip
            result[name] = fallback[name]
    return result


def _image_names(desired: Desired) -> list[str]:
    from sglctl.config.render import required_images

    return [need.name for need in required_images(desired)]


def _bind(
    context: Context, desired: Desired, session: Session, variables: dict[str, Any]
) -> Workspace:
    terraform = Terraform(
        context.root / ROOT_MODULE,
        context.state_dir,
        env=session.environ,
        variables=variables,
    )
    backend = state_bucket.backend_of(session, context.environment)
    digest = plan_digest(context.root, variables, backend)
    return Workspace(context, desired, session, backend, terraform, digest)


def plan_digest(root: Path, variables: Mapping[str, Any], backend: Backend) -> str:
    """SHA-256 of the variables, the modules and the place of the state."""
    digest = hashlib.sha256(json.dumps(variables, sort_keys=True).encode())
    digest.update(json.dumps(backend.options(), sort_keys=True).encode())
    digest.update(_modules_digest(root))
    return digest.hexdigest()


def _init_digest(root: Path, backend: Backend) -> str:
    lock = root / ROOT_MODULE / ".terraform.lock.hcl"
    digest = hashlib.sha256(json.dumps(backend.options(), sort_keys=True).encode())
    digest.update(_modules_digest(root))
    digest.update(lock.read_bytes() if lock.is_file() else b"")
    digest.update(str(root).encode())
    return digest.hexdigest()


def _modules_digest(root: Path) -> bytes:
    digest = hashlib.sha256()
    for file in sorted((root / "terraform").rglob("*.tf")):
        digest.update(str(file.relative_to(root)).encode() + b"\0" + file.read_bytes())
    return digest.digest()
