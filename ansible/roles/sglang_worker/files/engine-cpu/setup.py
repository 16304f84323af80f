"""Adds the one thing pyproject.toml cannot say: a `.pth` file at the root of the wheel."""

from __future__ import annotations

from pathlib import Path

from setuptools import setup
from setuptools.command.build_py import build_py

HOOK = "sglang_cpu_platform.pth"


class BuildWithHook(build_py):
    """Python runs `.pth` lines at start-up, in every process SGLang spawns too.

    https://docs.python.org/3/library/site.html
    """

    def run(self) -> None:
        super().run()
        Path(self.build_lib, HOOK).write_text("import sglang_cpu_platform.startup\n")

    def get_outputs(self, include_bytecode: bool = True) -> list[str]:
        return [*super().get_outputs(include_bytecode), str(Path(self.build_lib, HOOK))]


setup(cmdclass={"build_py": BuildWithHook})
