"""PhotoRecord: all that the page shows of one photo; and reading it back from JSON, of which nothing is trusted."""

import os
import re
from dataclasses import dataclass, field, fields
from typing import Any, get_args, get_origin

MOST_COLORS = 24  # of a palette that are shown: two rows of a card
COLOR = re.compile("#[0-9a-f]{6}([0-9a-f]{2})?")
MOST = 2**53  # below which JavaScript knows every integer


@dataclass(frozen=True)
class PhotoRecord:
    """One photo, before and after. None, or nothing in a tuple, is what nobody knows."""

    name: str  # for people: where the photo is, without credentials
    source: str | None = None  # path of the photo, from the page's folder
    target: str | None = None  # path of the result, from there
    before: str | None = None  # names of the thumbnails
    after: str | None = None
    error: str | None = None  # why there is no result
    width: int | None = None
    height: int | None = None
    n_colors: int | None = None
    colors: tuple[str, ...] = ()  # "#rrggbb", or "#rrggbbaa" with alpha: the most common ones, at most `MOST_COLORS`
    shares: tuple[float, ...] = ()  # of the pixels, of each of these colors
    mse: float | None = None
    psnr: float | None = None  # dB; None where nothing was lost, too: then the MSE is 0
    ssim: float | None = None  # of the thumbnails
    bytes_in: int | None = None
    bytes_out: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)  # of each stage
    warnings: tuple[str, ...] = ()
    settings: str | None = None  # what it was made with, in words

    @property
    def is_lossless(self) -> bool:
        return self.mse == 0


def record_of(values: object) -> PhotoRecord | None:
    """The record in an object of JSON, whose other members are left out; None where it holds none."""
    if not isinstance(values, dict):
        return None
    kinds = {one.name: one.type for one in fields(PhotoRecord)}
    found = {name: value for name, value in values.items() if name in kinds}
    if "name" not in found or not all(_fits(value, kinds[name]) for name, value in found.items()):
        return None
    given: dict[str, Any] = {name: tuple(value) if isinstance(value, list) else value for name, value in found.items()}
    record = PhotoRecord(**given)
    return record if _has_a_palette(record.colors, record.shares) and _has_paths(record.source, record.target) else None


def _has_a_palette(colors: tuple[str, ...], shares: tuple[float, ...]) -> bool:
    are_colors = len({len(color) for color in colors}) <= 1 and all(map(COLOR.fullmatch, colors))
    return are_colors and len(colors) == len(shares) <= MOST_COLORS


def _has_paths(*places: str | None) -> bool:
    """True of texts that a file system may have; of what is half a surrogate pair no link can be made."""
    try:
        return all("\0" not in os.fsdecode(os.fsencode(place)) for place in places if place is not None)
    except UnicodeEncodeError:
        return False


def _fits(value: object, kind: Any) -> bool:
    """Tell whether a value of JSON is of the type of a field."""
    parts = get_args(kind)
    if get_origin(kind) is tuple:
        return isinstance(value, list) and all(_fits(one, parts[0]) for one in value)
    if get_origin(kind) is dict:
        return isinstance(value, dict) and all(_fits(one, parts[1]) for one in value.values())
    if parts:  # of a union
        return any(_fits(value, part) for part in parts)
    if kind in (int, float):
        types, least = ((int,), 0) if kind is int else ((int, float), -MOST)
        return isinstance(value, types) and not isinstance(value, bool) and least <= value < MOST
    return isinstance(value, kind)
