"""What is derived from the desired state. Pure: the same input gives the same documents."""

from __future__ import annotations

from sglctl.config.render.documents import render_fleet_document
from sglctl.config.render.images import ImageNeed, render_ansible, render_packer, required_images
from sglctl.config.render.router_document import render_router_document
from sglctl.config.render.terraform import render_terraform, resolve_placeholder

__all__ = [
    "ImageNeed",
    "render_ansible",
    "render_fleet_document",
    "render_packer",
    "render_router_document",
    "render_terraform",
    "required_images",
    "resolve_placeholder",
]
