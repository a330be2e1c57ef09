"""The one table of dithering methods. It imports nothing heavy: the command line reads it."""

from dataclasses import dataclass


@dataclass(frozen=True)
class Method:
    """A way to choose the entry of a pixel: by the ranks of a mask, or, without one, by diffusing the errors."""

    help: str = ""  # when to use it: the sentence that the name begins
    mask: str = ""  # "module:function" that gives int16 [S, S], each rank once


METHODS = {
    "none": Method(),  # the nearest entry
    "floyd-steinberg": Method("keeps most detail"),
    "blue-noise": Method("has the least visible pattern", "gpuquant.dithering.masks:blue_noise"),
    "bayer": Method("suits pixel art", "gpuquant.dithering.masks:bayer"),
}
