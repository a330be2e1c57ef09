"""The one table of color spaces in which distances are taken. It imports nothing heavy: the command line reads it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Space:
    """A working space by name."""

    help: str = ""  # a sentence on when to use it
    working_space: str = ""  # "module:name" of a `WorkingSpace`; sRGB needs none


SPACES = {
    "srgb": Space(),
    "oklab": Space("In oklab equal ones look about equal.", "gpuquant.colors.spaces:OKLAB"),
}
