"""Files that are whole or not there."""

import contextlib
import secrets
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpuquant.errors import ImageFileError


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its name only when all of it is written.

    Raises
    ------
    ImageFileError
        The file cannot be written.
    """
    path = Path(path)
    unfinished = path.with_name(f".gpuquant-{secrets.token_hex(6)}.part")
    try:
        try:
            with unfinished.open("xb+") as file:
                yield file
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from None
