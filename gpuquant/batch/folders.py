"""Folders for results: made and tried before work begins."""

from pathlib import Path

from gpuquant.batch.plan import PlannedFile
from gpuquant.locations import Location, Place, make_folder


def check_writable(output: Place | None, files: list[PlannedFile]) -> None:
    """Make the folder of the results; at URLs write a small file into it, or into one of each store, and remove it.

    Raises
    ------
    ArgumentError, ImageFileError
        It cannot be written.
    """
    if isinstance(output, Path):
        make_folder(output)
        return
    if output is not None:
        output.check_writable()
        return
    targets = [file.target for file in files if isinstance(file.target, Location)]
    for target in {one.store: one for one in targets}.values():
        target.parent.check_writable()
