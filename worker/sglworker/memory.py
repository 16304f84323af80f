"""Write what the next agent has to know, and read what the last one knew."""

from __future__ import annotations

import logging

from sglworker.errors import BootError
from sglworker.files import Files
from sglworker.saved import Saved, boot_name, parse_saved, remember, restore
from sglworker.worker import Worker

logger = logging.getLogger(__name__)


class Memory:
    """`save` is cheap where nothing changed. A file that cannot be written costs no request."""

    def __init__(self, worker: Worker, files: Files) -> None:
        self._worker = worker
        self._files = files
        self._boot = boot_name()
        self._last: Saved | None = None

    def load(self) -> None:
        """Take over what the last agent of this boot knew."""
        try:
            text = self._files.saved.read_text()
        except FileNotFoundError:
            return
        except OSError as error:
            logger.warning("cannot read %s: %s", self._files.saved, error.strerror)
            return
        if saved := parse_saved(text, self._boot):
            restore(self._worker, saved)
            logger.info("resumed after the last agent of this boot")

    def save(self) -> None:
        if self._worker.resumed is not None:
            return  # what is in the file is still to be done
        saved = remember(self._worker, self._boot)
        if saved == self._last:
            return
        try:
            self._files.write_saved(saved.model_dump_json())
        except BootError as error:
            if not self._worker.write_failures:
                logger.error("the worker goes on, but forgets with its agent: %s", error)
            self._worker.write_failures += 1
            return
        self._last = saved
