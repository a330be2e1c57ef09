"""Folders for results: made and tried before work begins."""

from gpuquant.batch.plan import PlannedFile
from gpuquant.locations import Location, Place, check_folder


def check_writable(output: Place | None, files: list[PlannedFile]) -> None:
    """Make the folder of the results; at URLs write a small file into it, or into one of each store, and remove it.

    Raises
    ------
    ArgumentError, ImageFileError
        It cannot be written.
    """
    if output is not None:
        check_folder(output)
        return
    targets = [file.target for file in files if isinstance(file.target, Location)]
    for target in {one.store: one for one in targets}.values():
        check_folder(target.parent)
