"""YAML to plain data, with the place of every key and every error, not just the first.

The document is composed, not constructed: the node tree has the place of each key and value
(so that `sglctl scale` can replace one number and leave every other byte alone), and a
duplicate key can be reported beside the other errors instead of ending the reading.
Anchors, aliases and tags are refused: a value is written where it is read.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal

from ruamel.yaml import YAML
from ruamel.yaml.constructor import SafeConstructor
from ruamel.yaml.error import MarkedYAMLError, YAMLError
from ruamel.yaml.nodes import MappingNode, Node, ScalarNode, SequenceNode

from sglctl.config.finding import Finding, KeyPath, dotted

PLAIN_TAGS = ("tag:yaml.org,2002:map", "tag:yaml.org,2002:seq")


@dataclass(frozen=True)
class Place:
    """Line (from 1) of a key or list item, and the characters its value takes in the text."""

    line: int
    start: int
    end: int
    scalar: bool


@dataclass(frozen=True)
class Parsed:
    """A file: its text, its plain data, where each value stands, what is wrong with it."""

    file: Path
    text: str
    data: Any
    places: Mapping[KeyPath, Place]
    findings: tuple[Finding, ...] = ()

    def line(self, path: KeyPath) -> int:
        """Line of the value at `path`, else of the nearest value around it."""
        for length in range(len(path), -1, -1):
            if place := self.places.get(path[:length]):
                return place.line
        return 1

    def finding(self, path: KeyPath, message: str, fix: str = "", *, warning: bool = False
                ) -> Finding:  # fmt: skip
        severity: Literal["error", "warning"] = "warning" if warning else "error"
        return Finding(severity, self.file, self.line(path), dotted(path), message, fix)


def parse(text: str, file: Path) -> Parsed:
    """Read one document. Broken YAML is a finding, too, with `data` None."""
    yaml = YAML(typ="safe", pure=True)
    try:
        node = yaml.compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        line = mark.line + 1 if mark else 1
        message = f"not YAML: {error.problem or error.context}"
        return Parsed(file, text, None, {}, (Finding("error", file, line, "", message),))
    except YAMLError as error:
        message = f"not YAML: {str(error).splitlines()[0]}"
        return Parsed(file, text, None, {}, (Finding("error", file, 1, "", message),))
    walk = _Walk(file, yaml.constructor)
    data = walk.value(node, ()) if node is not None else None
    if node is not None:
        walk.places[()] = Place(1, node.start_mark.index, node.end_mark.index, False)
    return Parsed(file, text, data, walk.places, tuple(walk.findings))


@dataclass
class _Walk:
    """One pass over the node tree."""

    file: Path
    constructor: SafeConstructor
    places: dict[KeyPath, Place] = field(default_factory=dict)
    findings: list[Finding] = field(default_factory=list)
    seen: set[int] = field(default_factory=set)

    def value(self, node: Node, path: KeyPath) -> Any:
        if id(node) in self.seen:
            self._wrong(node, path, "aliases are not used here", "write the value out")
            return None
        self.seen.add(id(node))
        if node.anchor:
            self._wrong(node, path, "anchors are not used here", "write the value out")
        if not isinstance(node, ScalarNode) and str(node.tag) not in PLAIN_TAGS:
            self._wrong(node, path, "tags are not used here", f"remove {node.tag}")
        if isinstance(node, MappingNode):
            return self._mapping(node, path)
        if isinstance(node, SequenceNode):
            return [self._item(item, (*path, index)) for index, item in enumerate(node.value)]
        return self._scalar(node, path)

    def _item(self, node: Node, path: KeyPath) -> Any:
        self._at(path, node, node)
        return self.value(node, path)

    def _mapping(self, node: MappingNode, path: KeyPath) -> dict[str, Any]:
        found: dict[str, Any] = {}
        for key_node, value_node in node.value:
            if not isinstance(key_node, ScalarNode):
                self._wrong(key_node, path, "a key must be plain text")
                continue
            key = str(key_node.value)
            here = (*path, key)
            if key in found:
                first = self.places[here].line
                self._wrong(
                    key_node, here, f"duplicate key, first on line {first}", "keep one of them"
                )
                continue
            self._at(here, key_node, value_node)
            found[key] = self.value(value_node, here)
        return found

    def _scalar(self, node: Node, path: KeyPath) -> Any:
        try:
            return self.constructor.construct_object(node)
        except (YAMLError, ValueError) as error:
            problem = getattr(error, "problem", None) or str(error)
            self._wrong(node, path, f"not a value: {problem}")
            return None

    def _at(self, path: KeyPath, first: Node, value: Node) -> None:
        self.places[path] = Place(
            line=first.start_mark.line + 1,
            start=value.start_mark.index,
            end=value.end_mark.index,
            scalar=isinstance(value, ScalarNode),
        )

    def _wrong(self, node: Node, path: KeyPath, message: str, fix: str = "") -> None:
        line = node.start_mark.line + 1
        self.findings.append(Finding("error", self.file, line, dotted(path), message, fix))
