"""Images: which an environment needs, what they are made of, and making them.

`ensure_images` is what other parts call.
"""

from __future__ import annotations

from sglctl.images.ensure import ensure_images

__all__ = ["ensure_images"]
