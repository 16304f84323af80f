"""Rules of one entry of the model catalogue."""

from __future__ import annotations

from collections.abc import Iterator

from sglctl.config.catalogue import ModelEntry
from sglctl.config.finding import Finding
from sglctl.config.yamltext import Parsed

#: Bytes per parameter that no format is below: 4 bit.
LEAST_BYTES_PER_PARAMETER = 0.5


def check_model(name: str, model: ModelEntry, source: Parsed) -> Iterator[Finding]:
    origin, shape = model.source, model.architecture
    if (origin.huggingface is None) == (origin.generate is None):
        yield source.finding(("source",), "give exactly one of huggingface and generate")
    if origin.huggingface and origin.revision is None:
        yield source.finding(
            ("source", "revision"),
            "not pinned: two bakes of one release may hold different weights",
            "write the commit of the repository",
            warning=True,
        )
    if shape.attention_heads % shape.kv_heads:
        yield source.finding(
            ("architecture", "kv_heads"), f"does not divide {shape.attention_heads} heads"
        )
    if shape.attention_layers and shape.attention_layers > shape.layers:
        yield source.finding(
            ("architecture", "attention_layers"), f"more than layers ({shape.layers})"
        )
    if model.weight_bytes < model.parameters * LEAST_BYTES_PER_PARAMETER:
        yield source.finding(
            ("weight_bytes",), "less than half a byte per parameter: a digit is missing"
        )
