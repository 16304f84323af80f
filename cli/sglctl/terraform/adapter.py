"""One class over Terraform: python-terraform builds the commands, `process` runs them."""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from python_terraform import IsFlagged
from python_terraform import Terraform as CommandBuilder

from sglctl.errors import TerraformError
from sglctl.terraform import diagnose, mirror, process
from sglctl.terraform.events import Diagnostic, diagnostic

#: Longest run of each command in seconds. An apply waits for load balancers and NAT gateways.
TIMEOUTS_S: Mapping[str, float] = {
    "init": 900, "plan": 900, "apply": 3600, "destroy": 3600,
    "show": 120, "output": 120, "force-unlock": 120, "import": 300,
}  # fmt: skip
#: How long a lock of somebody else is waited for before StateLockedError.
LOCK_TIMEOUT = "5s"

OnEvent = process.OnEvent


@dataclass(frozen=True)
class Backend:
    """Where the state is: an S3 object, locked by an object beside it."""

    bucket: str
    key: str
    region: str
    emulated: bool = False

    def options(self) -> dict[str, str]:
        """`-backend-config` options; https://developer.hashicorp.com/terraform/language/backend/s3"""
        options = {"bucket": self.bucket, "key": self.key, "region": self.region}
        if self.emulated:
            flags = (
                "use_path_style", "skip_credentials_validation", "skip_requesting_account_id",
                "skip_metadata_api_check", "skip_region_validation",
            )  # fmt: skip
            options |= dict.fromkeys(flags, "true")
        return options


@dataclass(frozen=True)
class PlanResult:
    """A plan on disk. `document` is `terraform show -json` of it."""

    file: Path
    changes: bool
    document: Mapping[str, Any]


class Terraform:
    """Runs Terraform in one root module, with its data and configuration in a state folder.

    `env` is the whole environment of the process apart from Terraform's own variables
    (credentials and endpoint: `sglctl.aws.session.Session.environ`).
    Every method raises TerraformError or StateLockedError with the failing resource and a fix,
    WaitTimeoutError past its deadline, and KeyboardInterrupt when cancelled; then Terraform has
    ended, and the lock is given back.
    """

    def __init__(
        self,
        root_module: Path,
        state_dir: Path,
        *,
        env: Mapping[str, str] | None = None,
        variables: Mapping[str, Any] | None = None,
        binary: str = "terraform",
    ) -> None:
        self._root = root_module
        self._state_dir = state_dir
        self._env = dict(os.environ if env is None else env)
        self._variables = variables
        self._builder = CommandBuilder(working_dir=str(root_module), terraform_bin_path=binary)

    # -- commands -------------------------------------------------------------------------

    def init(self, backend: Backend | None, *, on_event: OnEvent | None = None) -> None:
        """Install providers and modules, connect the state. None: no backend (validation)."""
        options: dict[str, Any] = {"input": False, "json": IsFlagged, "no_color": IsFlagged}
        if backend is None:
            options["backend"] = False
        else:
            options |= {"backend_config": backend.options(), "reconfigure": IsFlagged}
        self._stream("init", options, on_event=on_event)

    def plan(
        self,
        file: Path,
        *,
        destroy: bool = False,
        targets: list[str] | None = None,
        on_event: OnEvent | None = None,
    ) -> PlanResult:
        """Write a plan file, and return what it holds."""
        options = self._common() | {"out": str(file), "detailed_exitcode": IsFlagged}
        options |= {"var_file": self._write_variables(), "lock_timeout": LOCK_TIMEOUT}
        if destroy:
            options["destroy"] = IsFlagged
        if targets:
            options["target"] = targets
        code = self._stream("plan", options, on_event=on_event, accepted=(0, 2))
        return PlanResult(file, code == 2, self.show(file))

    def apply(self, plan: Path, *, on_event: OnEvent | None = None) -> None:
        """Apply a plan file. An own lock that a killed run left is given back."""
        options = self._common() | {"lock_timeout": LOCK_TIMEOUT}
        self._stream("apply", options, str(plan), on_event=on_event)

    def destroy(self, *, on_event: OnEvent | None = None) -> None:
        """Destroy everything in the state."""
        options = self._common() | {"auto_approve": IsFlagged, "lock_timeout": LOCK_TIMEOUT}
        self._stream("destroy", options | {"var_file": self._write_variables()}, on_event=on_event)

    def show(self, plan: Path) -> dict[str, Any]:
        """A plan file as Terraform's JSON."""
        document: dict[str, Any] = json.loads(self._capture("show", str(plan)))
        return document

    def output(self) -> dict[str, Any]:
        """Every output's value, by name; empty before the first apply."""
        document = json.loads(self._capture("output"))
        return {name: entry["value"] for name, entry in document.items()}

    def addresses(self) -> frozenset[str]:
        """The managed resources the state holds."""
        document = json.loads(self._capture("show"))
        return frozenset(_managed((document.get("values") or {}).get("root_module") or {}))

    def resources(self) -> int:
        """How many those are."""
        return len(self.addresses())

    def import_resource(self, address: str, identity: str) -> None:
        """Take an existing resource into the state."""
        command = self._builder.generate_cmd_string(
            "import", address, identity, input=False, no_color=IsFlagged,
            var_file=self._write_variables(), lock_timeout=LOCK_TIMEOUT,
        )  # fmt: skip
        self._check("import", self._run("import", command, None))

    def force_unlock(self, lock_id: str) -> None:
        """Give back a lock whose holder is dead."""
        command = self._builder.generate_cmd_string("force-unlock", lock_id, force=IsFlagged)
        self._check("force-unlock", self._run("force-unlock", command, None))

    # -- running --------------------------------------------------------------------------

    def _common(self) -> dict[str, Any]:
        return {"input": False, "json": IsFlagged, "no_color": IsFlagged}

    def _stream(
        self,
        action: str,
        options: Mapping[str, Any],
        *arguments: str,
        on_event: OnEvent | None,
        accepted: tuple[int, ...] = (0,),
    ) -> int:
        command = self._builder.generate_cmd_string(action, *arguments, **options)
        done = self._run(action, command, on_event or (lambda _event: None))
        self._check(action, done, accepted)
        return done.returncode

    def _capture(self, action: str, *arguments: str) -> str:
        command = self._builder.generate_cmd_string(
            action, *arguments, json=IsFlagged, no_color=IsFlagged
        )
        done = self._run(action, command, None)
        self._check(action, done)
        return done.output

    def _run(self, action: str, command: list[str], on_event: OnEvent | None) -> process.Completed:
        return process.run(
            command,
            cwd=self._root,
            env=self._environ(),
            timeout_s=TIMEOUTS_S[action],
            on_event=on_event,
        )

    @staticmethod
    def _check(action: str, done: process.Completed, accepted: tuple[int, ...] = (0,)) -> None:
        if done.returncode in accepted:
            return
        tail = done.tail or done.output
        raise diagnose.to_error(action, done.diagnostics or _diagnostics(tail), tail)

    def _environ(self) -> dict[str, str]:
        self._state_dir.mkdir(parents=True, exist_ok=True)
        kept = {
            key: value
            for key, value in self._env.items()
            # The user's flags for Terraform by hand would change what these commands mean.
            if not key.startswith(("TF_CLI_ARGS", "TF_VAR_", "TF_WORKSPACE", "TF_LOG"))
        }
        return {
            **kept,
            "TF_CLI_CONFIG_FILE": str(mirror.write_cli_config(self._state_dir, self._env)),
            "TF_DATA_DIR": str(self._state_dir / "terraform"),
            "TF_IN_AUTOMATION": "1",
            "TF_INPUT": "0",
            "CHECKPOINT_DISABLE": "1",
        }

    def _write_variables(self) -> str | None:
        """The variables as a file of the state folder (kept: it shows what was asked for)."""
        if self._variables is None:
            return None
        self._state_dir.mkdir(parents=True, exist_ok=True)
        file = self._state_dir / "variables.tfvars.json"
        text = json.dumps(self._variables, indent=2, sort_keys=True)
        temporary = file.with_suffix(f".{os.getpid()}")
        temporary.write_text(text, encoding="utf-8")
        temporary.replace(file)
        return str(file)


def _managed(module: Mapping[str, Any]) -> Iterator[str]:
    for item in module.get("resources", []):
        if item.get("mode") == "managed":
            yield item["address"]
    for child in module.get("child_modules", []):
        yield from _managed(child)


def _diagnostics(text: str) -> tuple[Diagnostic, ...]:
    """Diagnostics of a command that does not stream: none, or those of one JSON document."""
    try:
        document = json.loads(text)
    except json.JSONDecodeError:
        return ()
    if not isinstance(document, dict):
        return ()
    return tuple(diagnostic(raw) for raw in document.get("diagnostics", []))


__all__ = ["Backend", "PlanResult", "Terraform", "TerraformError"]
