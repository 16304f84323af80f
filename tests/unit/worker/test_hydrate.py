"""Weights are read once for each volume, all of them, by readers that can be stopped."""

from __future__ import annotations

import asyncio
import json
from pathlib import Path

import pytest
from agent_world import World, live
from hypothesis import given
from hypothesis import strategies as st

from sglworker import hydrate as hydrate_module
from sglworker.errors import BootError
from sglworker.hydrate import Weights, _ranges, find_weights, hydrate


def model(folder: Path, *sizes: int) -> Path:
    path = folder / "weights"
    path.mkdir()
    for number, size in enumerate(sizes):
        (path / f"model-{number}.safetensors").write_bytes(b"w" * size)
    return path


def test_every_byte_is_read_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Large files in ranges, a link's target once, empty files too."""
    monkeypatch.setattr(hydrate_module, "_RANGE_BYTES", 1000)
    monkeypatch.setattr(hydrate_module, "_CHUNK_BYTES", 250)  # divides a range
    path = model(tmp_path, 0, 999, 1000, 1001, 12_345)
    (path / "link").symlink_to(path / "model-4.safetensors")
    weights = find_weights(path, "i-1")
    heard: list[int] = []
    assert asyncio.run(hydrate(weights, heard.append)) == 15_345
    assert sum(heard) == weights.total_bytes == 15_345


@given(st.lists(st.integers(0, 10**12), max_size=8))
def test_ranges_cover_each_file_without_overlap(sizes: list[int]) -> None:
    """Starts are one range apart, and the last range reaches the end."""
    for size in sizes:
        if size > 10**11:
            size //= 1000
        starts = [start for _, start in _ranges(Weights(((Path("/m"), size),), ""))]
        step = hydrate_module._RANGE_BYTES
        assert starts == [number * step for number in range(len(starts))]
        assert (len(starts) - 1) * step < max(size, 1) <= max(len(starts), 1) * step


def test_a_key_tells_copies_instances_and_revisions_apart(tmp_path: Path) -> None:
    """Same files, same key; another instance, a copied file or another size, another one."""
    path = model(tmp_path, 10, 20)
    first = find_weights(path, "i-1").key
    assert find_weights(path, "i-1").key == first
    assert find_weights(path, "i-2").key != first
    file = path / "model-0.safetensors"
    copy = path / "copy"
    copy.write_bytes(file.read_bytes())
    copy.replace(file)
    assert find_weights(path, "i-1").key != first


def test_no_model_is_a_boot_error(tmp_path: Path) -> None:
    """The message says what to do."""
    with pytest.raises(BootError, match="bake the image again"):
        find_weights(tmp_path / "none", "i-1")


@pytest.mark.usefixtures("quick")
def test_weights_that_are_hot_are_not_read_again(tmp_path: Path) -> None:
    """The next agent finds the marker; a copied file makes it read anew."""

    async def life(here: World) -> None:
        async with here.engine():
            await here.until("ready")
            state = json.loads((await here.get("/state"))[1])
            assert (state["hydrated_bytes"], state["weights_bytes"]) == (100_000, 100_000)
            assert state["hydration_mbps"] > 0
            await here.stop()
            here.start()
            await here.until("ready")
            state = json.loads((await here.get("/state"))[1])
            assert (state["hydrated_bytes"], state["weights_bytes"]) == (0, 100_000)
            assert state["hydration_mbps"] is None
            (tmp_path / "model" / "weights.safetensors").write_bytes(b"v" * 50_000)
            await here.stop()
            here.start()
            await here.until("ready")
            assert here.agent.worker.hydrated_bytes == 50_000

    live(life, tmp_path)
