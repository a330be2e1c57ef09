"""Room in memory for a photo that is held whole."""

from gpuquant.arguments import MAX_PIXELS
from gpuquant.errors import ArgumentError, ImageFileError, size_in_words
from gpuquant.memory import engine_memory, free_memory
from gpuquant.threads import worker_threads

A_PIXEL = 7  # bytes at the peak: Pillow's pixels, ours, and labels (1.86 GB for 250 megapixels of a JPEG, measured)
SURELY = 1 << 24  # pixels for which nobody asks what is free
IN_STRIPS = "quantize_file (gpuquant quantize) works on it in strips"


MEMORY_IN_STRIPS = 900_000_000  # bytes at the peak, for any number of pixels
A_MINUTE = 2_000_000_000  # pixels in one, from a JPEG to a PNG of 16 colors on two cores; others take longer


class NoRoomError(ImageFileError):
    """A file has more pixels, or takes more memory, than it may; nobody knows of any damage."""


def check_room(
    size: tuple[int, int],  # width and height
    n_bytes: int | None = None,  # that it may take, if it is not all that is free
    way_out: str = IN_STRIPS,
) -> None:
    """Refuse a photo that does not fit into memory whole.

    Raises
    ------
    ArgumentError
        It does not.
    """
    n_pixels = size[0] * size[1]
    if n_bytes is None:
        n_bytes = free_memory() if n_pixels > SURELY else None
    needed = A_PIXEL * n_pixels
    if n_bytes is not None and needed > n_bytes:
        takes = f"{size[0]} x {size[1]} pixels take about {size_in_words(needed)} of memory when all are held"
        raise ArgumentError(f"{takes}, more than the {size_in_words(n_bytes)} that there are; {way_out}")


def takes(n_pixels: int, *, in_strips: bool) -> str:
    """Say what a photo takes that is larger than what is decoded unasked, after the option that allows it."""
    if n_pixels <= MAX_PIXELS:
        return ""
    memory = size_in_words(MEMORY_IN_STRIPS if in_strips else A_PIXEL * n_pixels)
    minutes = max(1, round(n_pixels / A_MINUTE))
    return f" {n_pixels}: it then takes about {memory} of memory, and {minutes} minute{'s' * (minutes > 1)} or more"


def enough_for(n_bytes: int) -> str:
    """The argument that lets a photo, one at a time, take so many bytes."""
    needed = n_bytes + engine_memory(worker_threads(), as_floats=True)
    return f"memory='{-(-needed // 10**9)}GB'"
