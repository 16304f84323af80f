"""The engine's command line, from what the image has and what the fleet wants."""

from __future__ import annotations

from sglworker.errors import DocumentError
from sglworker.models import EngineCommand, FleetDocument, HostDocument


def engine_command(host: HostDocument, fleet: FleetDocument) -> EngineCommand:
    """Later arguments win in SGLang, so the fleet's come last.

    Raises DocumentError where this image cannot serve the fleet.
    """
    # The stub engine has no weights: it stands in for any model of any engine.
    if host.engine.kind != "stub":
        _check_image(host, fleet)
    arguments = (
        "--model-path", str(host.model.path),
        "--served-model-name", fleet.served_model_name,
        "--host", host.bind,
        "--port", str(fleet.engine_port),
        "--context-length", str(fleet.context_length),
        "--enable-metrics",
        "--enable-cache-report",
        *_role_arguments(fleet),
    )  # fmt: skip
    return EngineCommand(
        argv=(*host.engine.command, *arguments, *host.engine.args, *fleet.engine_args),
        environment=host.engine.environment | fleet.engine_env,
    )


def _role_arguments(fleet: FleetDocument) -> tuple[str, ...]:
    """https://docs.sglang.ai/advanced_features/pd_disaggregation.html"""
    if fleet.role == "regular":
        return ()
    wanted = fleet.disaggregation
    mode = ("--disaggregation-mode", fleet.role)
    backend = ("--disaggregation-transfer-backend", wanted.transfer_backend)
    if fleet.role == "decode":  # it learns each request's bootstrap address from the request
        return (*mode, *backend)
    return (*mode, *backend, "--disaggregation-bootstrap-port", str(wanted.bootstrap_port))


def _check_image(host: HostDocument, fleet: FleetDocument) -> None:
    if host.model.name != fleet.model:
        raise DocumentError(
            f"this image holds model {host.model.name!r}, fleet {fleet.fleet} serves"
            f" {fleet.model!r}: give the fleet an image with its model"
        )
    if host.engine.kind != fleet.engine:
        raise DocumentError(
            f"this image holds engine {host.engine.kind!r}, fleet {fleet.fleet} wants"
            f" {fleet.engine!r}"
        )


def own_address(host: HostDocument, private_address: str) -> str:
    """Where routers reach this host: its bound address, else its private one."""
    return private_address if host.bind in ("0.0.0.0", "::") else host.bind  # noqa: S104
