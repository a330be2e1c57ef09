"""Files that are whole or not there."""

import contextlib
import os
import secrets
import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import IO

from gpuquant.errors import ArgumentError, ImageFileError


@contextlib.contextmanager
def whole_file(path: str | Path) -> Iterator[IO[bytes]]:
    """A file to write to, which takes its name only when all of it is written.

    Until then it has no name at all where the system has such files (Linux, on most file systems), so that nothing of
    it stays behind even when the process is killed; elsewhere it has a hidden name.

    Raises
    ------
    ArgumentError
        The path has characters that no path has.
    ImageFileError
        The file cannot be written.
    """
    path = Path(path)
    try:
        possible = b"\0" not in os.fsencode(path)
    except UnicodeEncodeError:  # a half of a surrogate pair
        possible = False
    if not possible:
        raise ArgumentError(f"{str(path)!r} is not the path of a file: no path has such characters")
    unfinished = path.with_name(f".gpuquant-{secrets.token_hex(6)}.part")
    try:
        try:
            unnamed = _unnamed_file(path.parent)
            with unnamed or unfinished.open("xb+") as file:
                yield file
                if unnamed:
                    _give_name(unnamed, unfinished)
            unfinished.replace(path)
        except BaseException:
            with contextlib.suppress(OSError):
                unfinished.unlink(missing_ok=True)
            raise
    except ImageFileError:
        raise
    except OSError as error:
        raise ImageFileError(f"{path} cannot be written: {error.strerror or error}") from None


def _unnamed_file(folder: Path) -> IO[bytes] | None:
    flag = getattr(os, "O_TMPFILE", None)
    if flag is None:
        return None
    try:
        return os.fdopen(os.open(folder, flag | os.O_RDWR, 0o666), "wb+")
    except OSError:  # the file system has none, or a named file will fail as well and say why
        return None


def _give_name(file: IO[bytes], path: Path) -> None:
    """Name a file that has no name: a link, which can be new only, never put over a file."""
    file.flush()
    number = file.fileno()
    try:
        # src_dir_fd says nothing beside an absolute path, but without it older Pythons would link the symlink itself
        os.link(f"/proc/self/fd/{number}", path, src_dir_fd=number, follow_symlinks=True)
    except OSError:  # no /proc, or a sandbox without links
        file.seek(0)
        with path.open("xb") as named:
            shutil.copyfileobj(file, named)
