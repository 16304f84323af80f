"""Change a fleet's capacity in the environment file, and nothing else in it."""

from __future__ import annotations

from pathlib import Path

from sglctl.config.finding import KeyPath, dotted
from sglctl.config.loader import config_error, load
from sglctl.config.validate import errors_of, validate
from sglctl.config.yamltext import Parsed, parse
from sglctl.errors import ConfigError


def edit_capacity(
    path: Path,
    fleet: str,
    *,
    min: int | None = None,  # noqa: A002 - the words of the file
    max: int | None = None,  # noqa: A002
    desired: int | None = None,
    warm_min: int | None = None,
    warm_max_prepared: int | None = None,
) -> str:
    """The file's new text; only the numbers themselves differ, every other byte stays.

    Where `desired` is not given it follows into [min, max]. The result is validated as a whole,
    and nothing is written (write it as bytes: the line ends are the file's).
    Raises ConfigError: no such fleet, no warm pool, an order that does not hold, or anything else
    wrong in the file.
    """
    source = parse(path.read_bytes().decode("utf-8"), path)  # line ends stay as they are
    here: KeyPath = ("fleets", fleet, "capacity")
    _require_fleet(source, fleet)
    wanted = {"min": min, "max": max, "desired": desired}
    new: dict[KeyPath, int] = {(*here, k): v for k, v in wanted.items() if v is not None}
    if desired is None:
        new.update(_following(source, here, new))
    pool = {"min": warm_min, "max_prepared": warm_max_prepared}
    new.update({("fleets", fleet, "warm_pool", k): v for k, v in pool.items() if v is not None})
    text = _replace(source, new)
    checked = load(path.parent.parent, path.stem, text=text, environ={})
    if errors := errors_of(validate(checked)):
        raise config_error(errors)
    return text


def _require_fleet(source: Parsed, fleet: str) -> None:
    if source.findings:
        raise config_error(list(source.findings))
    fleets = source.data.get("fleets") if isinstance(source.data, dict) else None
    if not isinstance(fleets, dict) or fleet not in fleets:
        there = ", ".join(fleets) if isinstance(fleets, dict) else "none"
        raise ConfigError(
            f"there is no fleet {fleet!r} in {source.file.name}", hint=f"fleets: {there}"
        )


def _following(source: Parsed, here: KeyPath, new: dict[KeyPath, int]) -> dict[KeyPath, int]:
    """`desired` moved into [min, max], if it is outside and the bounds make sense."""
    block = source.data["fleets"][here[1]].get("capacity")
    if not isinstance(block, dict):
        return {}
    low, high, now = (new.get((*here, k), block.get(k)) for k in ("min", "max", "desired"))
    if not (isinstance(low, int) and isinstance(high, int) and isinstance(now, int)) or low > high:
        return {}
    moved = low if now < low else high if now > high else now
    return {(*here, "desired"): moved} if moved != now else {}


def _replace(source: Parsed, new: dict[KeyPath, int]) -> str:
    """Put numbers in the places of scalars, from the end of the text on."""
    places = []
    for path, number in new.items():
        place = source.places.get(path)
        if place is None or not place.scalar:
            raise ConfigError(
                f"{source.file.name}:{source.line(path)}: {dotted(path)}: is not in the file, "
                "so it cannot be changed there",
                hint=f"add `{path[-1]}:` to {dotted(path[:-1])} by hand",
            )
        places.append((place, number))
    text = source.text
    for place, number in sorted(places, key=lambda item: item[0].start, reverse=True):
        text = text[: place.start] + str(number) + text[place.end :]
    return text
