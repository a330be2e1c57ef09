"""FileOutcome: the outcome of one file of a batch; and the log of them."""

import errno
import json
import math
import os
import traceback
from dataclasses import dataclass, field
from pathlib import Path
from typing import IO, Any

from gpuquant.errors import GpuquantError, ImageFileError, is_lack_of_memory, with_name
from gpuquant.locations import Place


@dataclass(frozen=True, eq=False)
class FileOutcome:
    """The outcome of one file.

    Attributes
    ----------
    source, target : Path, or Location of a URL
        As text a location is the URL without user info and query.
    status : "written", "skipped" or "failed"
        Files are skipped that exist already.
    error : str, optional
        Why it failed, in one line.
    width, height, n_colors : int, optional
        Size in pixels, and entries of the palette.
    mse, psnr : float, optional
        As of `QuantizedImage`.
    bytes_in, bytes_out : int, optional
        Sizes of the two files.
    seconds : dict of str to float
        Wall time of each stage: "read", "count", "cluster", "map", which on the CPU is with writing, and "write".
    warnings : tuple of str
        What was lost in reading.

    Examples
    --------
    >>> import gpuquant, tempfile
    >>> with tempfile.TemporaryDirectory() as folder:
    ...     outcome = next(gpuquant.quantize_files("missing.jpg", folder))
    >>> outcome.source.name, outcome.target.name, outcome.status, outcome.error
    ('missing.jpg', 'missing.png', 'failed', 'no such file')
    """

    source: Place
    target: Place
    status: str
    error: str | None = None
    width: int | None = None
    height: int | None = None
    n_colors: int | None = None
    mse: float | None = None
    psnr: float | None = None
    bytes_in: int | None = None
    bytes_out: int | None = None
    seconds: dict[str, float] = field(default_factory=dict)
    warnings: tuple[str, ...] = ()

    def as_json(self) -> str:
        """One line; an infinite PSNR is null, as JSON (RFC 8259) has no infinity.

        Examples
        --------
        >>> import gpuquant, json
        >>> from pathlib import Path
        >>> outcome = gpuquant.FileOutcome(Path("a.bmp"), Path("a.png"), "written", mse=0.0, psnr=float("inf"))
        >>> values = json.loads(outcome.as_json())
        >>> values["target"], values["mse"], values["psnr"]
        ('a.png', 0.0, None)
        """
        values: dict[str, Any] = self.__dict__ | {"source": str(self.source), "target": str(self.target)}
        if self.psnr is not None and math.isinf(self.psnr):
            values["psnr"] = None
        return json.dumps(values)


def is_of_full_disk(outcome: FileOutcome) -> bool:
    """True of a result for which there was no room on its disk."""
    reasons = {os.strerror(number) for number in (errno.ENOSPC, getattr(errno, "EDQUOT", errno.ENOSPC))}
    return outcome.error in {f"{outcome.target} cannot be written: {reason}" for reason in reasons}


def reason_of(error: Exception, source: Place) -> str:
    """Say in one line why a file failed, without its name."""
    if isinstance(error, GpuquantError):
        message = str(error)
    elif isinstance(error, OSError):
        message = with_name(error)
    elif is_lack_of_memory(error):
        message = "out of memory; use fewer jobs"
    else:  # a defect: say where
        place = traceback.extract_tb(error.__traceback__)[-1:]
        at = "".join(f" ({Path(frame.filename).name}, line {frame.lineno})" for frame in place)
        message = f"{type(error).__name__}: {error}{at}"
    line, name = " ".join(message.split()), " ".join(str(source).split())
    # where the name is the subject "it" stands for it
    line = f"it{line.removeprefix(name)}" if line.startswith(f"{name} ") else line.removeprefix(name)
    return line.removeprefix(":").strip() or type(error).__name__


class OutcomeLog:
    """Lines of JSON, each written as soon as it is known; trouble with writing is told after the last one."""

    def __init__(self, path: Path | None) -> None:
        self._path = path
        self._file: IO[bytes] | None = None
        self._trouble: OSError | None = None

    def __enter__(self) -> "OutcomeLog":
        if self._path is None:
            return self
        try:
            self._file = self._path.open("ab")
            if self._path.is_file() and self._file.tell():  # a process that was killed may have left half a line
                with self._path.open("rb") as before:
                    before.seek(-1, os.SEEK_END)
                    if before.read(1) != b"\n":
                        self._write(b"\n")
        except OSError as error:
            raise ImageFileError(f"{self._path} cannot be written: {error.strerror or error}") from None
        return self

    def add(self, outcome: FileOutcome) -> None:
        """One line on a file."""
        self._add(outcome.as_json())

    def add_passed_over(self, numbers: dict[str, int], n_results: int) -> None:
        """One line on the files that are not read: by ending, and results of earlier runs."""
        self._add(json.dumps({"status": "passed over", "endings": numbers, "results": n_results}))

    def _add(self, line: str) -> None:
        if self._file is not None:
            try:
                self._write(f"{line}\n".encode())
            except OSError as error:
                self._trouble = error

    def _write(self, line: bytes) -> None:
        assert self._file is not None
        self._file.write(line)
        self._file.flush()

    def __exit__(self, kind: Any, *_: object) -> None:
        if self._file is None:
            return
        try:
            self._file.close()
        except OSError as error:
            self._trouble = error
        if self._trouble and kind is None:
            raise ImageFileError(f"{self._path} is incomplete: {self._trouble.strerror or self._trouble}")
