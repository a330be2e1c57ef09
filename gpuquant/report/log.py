"""The log of a batch, read again: lines of JSON, of which nothing is trusted."""

import json
from dataclasses import dataclass
from typing import Any

from gpuquant.errors import ImageFileError
from gpuquant.images.sources import Source
from gpuquant.locations import Place, place_shown, resolved
from gpuquant.report.record import PhotoRecord, record_of

MOST_BYTES = 1 << 20  # of a line; ours have some 500
TOLD, OTHER = ("written", "failed"), ("skipped", "passed over")  # of lines: those with something for the page, and not


@dataclass(frozen=True)
class LoggedPhoto:
    """The last words of a log about a result: those that tell of the work on it, or why there is none."""

    source: Place
    target: Place
    record: PhotoRecord


@dataclass(frozen=True)
class ReadLog:
    """All that a log says."""

    photos: dict[str, LoggedPhoto]  # by the identity of the result
    n_known: int  # lines that a batch writes
    n_unknown: int  # others, which are left out


def read_log(path: Place) -> ReadLog:
    """Read what a log says of each result.

    Raises
    ------
    ImageFileError
        The log cannot be read.
    """
    found: dict[str, LoggedPhoto] = {}
    n_known = n_unknown = 0
    try:
        with Source(path).open() as file:
            while line := file.readline(MOST_BYTES):
                values = _values_of(line)
                one = None if values is None else _logged(values)
                if one is not None:
                    found[resolved(one.target)] = one
                is_known = one is not None or (values is not None and values["status"] in OTHER)
                n_known += is_known
                n_unknown += not is_known and not line.isspace()
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    return ReadLog(found, n_known, n_unknown)


def _values_of(line: bytes) -> dict[str, Any] | None:
    """The object of JSON in a line, if it has a status."""
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    return values if isinstance(values, dict) and isinstance(values.get("status"), str) else None


def _logged(values: dict[str, Any]) -> LoggedPhoto | None:
    if values["status"] not in TOLD:
        return None
    source, target = values.get("source"), values.get("target")
    if not isinstance(source, str) or not isinstance(target, str) or "\0" in source + target:
        return None
    values = {name: value for name, value in values.items() if name not in ("source", "target")}
    record = record_of(values | {"name": source})
    return None if record is None else LoggedPhoto(place_shown(source), place_shown(target), record)
