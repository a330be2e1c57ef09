"""The memory of a batch, which the photos share that are worked on at a time."""

from dataclasses import dataclass

from gpuquant.memory import MANY_COLORS, PROGRAM, default_budget, engine_memory, free_memory, how_many, parse_memory
from gpuquant.quantization.file_steps import LEAST_FOR_PIXELS, Budget

A_PIXEL = 8  # bytes: half of them keep its levels and alpha, the others are for strips on their way


@dataclass(frozen=True)
class Shares:
    """Bytes beside those of the program, for all photos, for the largest ones, and for one that is decoded whole."""

    all: int
    most: int
    most_whole: int
    n_threads: int  # that work on a photo
    as_floats: bool

    def of(self, n_pixels: int) -> int:
        """Bytes for a photo: what it takes in memory, or less, by which the largest are worked on in strips."""
        return min(self.wanted_by(n_pixels), self.most)

    def wanted_by(self, n_pixels: int) -> int:
        """Bytes of a photo whose pixels are kept in memory."""
        n_colors = min(n_pixels, MANY_COLORS)
        return engine_memory(self.n_threads, n_colors, as_floats=self.as_floats) - PROGRAM + A_PIXEL * n_pixels

    def budget(self, n_pixels: int) -> Budget:
        """The budget of a photo for its share."""
        is_kept = self.wanted_by(n_pixels) <= self.most  # then counting it in one piece takes less memory
        return Budget(PROGRAM + self.of(n_pixels), self.as_floats, self.most_whole, at_once=is_kept)


def shares_of(memory: int | str | None, *, jobs: int, n_threads: int, as_floats: bool, n_processes: int = 1) -> Shares:
    """Share memory out: as much for each of the largest photos as lets most of them be worked on at a time.

    Processes that do the same beside this one have the same part of it.
    """
    n_bytes = (default_budget() if memory is None else parse_memory(memory)) // n_processes
    least = engine_memory(n_threads, as_floats=as_floats) + LEAST_FOR_PIXELS
    all_of_it = max(1, n_bytes - PROGRAM)
    most = all_of_it // how_many(n_bytes, least, jobs)
    free = (free_memory() or 0) // (2 * jobs * n_processes) if memory is None else 0  # for what is read whole, or fails
    return Shares(all_of_it, most, max(most, free), n_threads, as_floats)
