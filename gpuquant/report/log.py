"""The log of a batch, read again: lines of JSON, of which nothing is trusted."""

import json
from dataclasses import dataclass

from gpuquant.errors import ImageFileError
from gpuquant.images.sources import Source
from gpuquant.locations import Place, place_shown, resolved
from gpuquant.report.record import PhotoRecord, record_of

MOST_BYTES = 1 << 20  # of a line; ours have some 500


@dataclass(frozen=True)
class LoggedPhoto:
    """The last words of a log about a result: those that tell of the work on it, or why there is none."""

    source: Place
    target: Place
    record: PhotoRecord


def read_log(path: Place) -> dict[str, LoggedPhoto]:
    """What a log says of each result, by its identity; lines that are none of a log are left out.

    Raises
    ------
    ImageFileError
        The log cannot be read.
    """
    found: dict[str, LoggedPhoto] = {}
    try:
        with Source(path).open() as file:
            while line := file.readline(MOST_BYTES):
                one = _logged(line)
                if one is not None:
                    found[resolved(one.target)] = one
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be read: {error.strerror or error}") from None
    return found


def _logged(line: bytes) -> LoggedPhoto | None:
    try:
        values = json.loads(line)
    except (ValueError, RecursionError):
        return None
    if not isinstance(values, dict) or values.get("status") not in ("written", "failed"):
        return None
    source, target = values.get("source"), values.get("target")
    if not isinstance(source, str) or not isinstance(target, str) or "\0" in source + target:
        return None
    values = {name: value for name, value in values.items() if name not in ("source", "target")}
    record = record_of(values | {"name": source})
    return None if record is None else LoggedPhoto(place_shown(source), place_shown(target), record)
