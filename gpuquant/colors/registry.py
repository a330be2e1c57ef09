"""The one table of color spaces in which distances are taken. It imports nothing heavy: the command line reads it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """A working space by name."""

    working_space: str  # "module:name" of a `WorkingSpace`
    help: str = ""  # a sentence on when to use it


SPACES = {
    "srgb": Space("gpuquant.colors.spaces:SRGB"),
    "oklab": Space("gpuquant.colors.spaces:OKLAB", "In oklab equal ones look about equal."),
}
