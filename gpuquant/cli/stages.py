"""The line that a command shows on a terminal while it works: stages, and how far they are when they take long."""

import time
from collections.abc import Iterable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from gpuquant.cli.options import take_interrupts
from gpuquant.cli.photo import given_photo
from gpuquant.cli.words import printable
from gpuquant.locations import Place

if TYPE_CHECKING:
    from rich.status import Status

    from gpuquant.images.sources import ImageSource, Source

STAGES = {"read": "reading", "count": "counting colors", "cluster": "finding the palette", "map": "looking pixels up"}
STAGES |= {"write": "writing", "report": "making the report"}
SOON = 1.0  # seconds of a stage after which it says how far it is


class Stages:
    """A task and its stages. Called with the name of a stage, and the share of it that is done, it shows them."""

    def __init__(self, task: str, status: "Status", n_photos: int, *, is_seen: bool) -> None:
        self._task, self._status, self._n_photos, self._is_seen = task, status, n_photos, is_seen
        self._n_begun, self._n_pixels = 0, 0
        self._stage, self._start, self._shown = "", 0.0, task

    def __call__(self, stage: str, share: float = 0.0) -> None:
        from rich.markup import escape

        if stage != self._stage or share == 0:
            self._stage, self._start = stage, time.perf_counter()
        is_of_photo = self._n_photos > 1 and stage in ("read", "count")
        which = f" {self._n_begun} of {self._n_photos}" if is_of_photo else ""
        text = f"{self._task}: {STAGES[stage]}{which}{self._pace(share)}"
        if text != self._shown:
            self._shown = text
            self._status.update(escape(text))

    def count(self, share: float) -> None:
        """Show how much of a photo is counted."""
        self("count", share)

    def begin(self, photo: "ImageSource | Source", max_pixels: int) -> None:
        """Begin the next photo, whose number of pixels is needed for their pace."""
        from gpuquant.images.strips import photo_size

        self._n_begun += 1
        width, height = photo_size(photo, max_pixels) if self._is_seen else (0, 0)
        self._n_pixels = width * height

    def each(self, photos: Iterable[Place], max_pixels: int) -> "Iterator[ImageSource | Source]":
        """The photos, each of which is begun when it is asked for."""
        for photo in photos:
            given = given_photo(photo)
            self.begin(given, max_pixels)
            yield given

    def _pace(self, share: float) -> str:
        elapsed = time.perf_counter() - self._start
        if elapsed < SOON or not 0 < share < 1:
            return ""
        speed = f" at {share * self._n_pixels / elapsed / 1e6:.0f} MP/s" if self._n_pixels else ""
        minutes, seconds = divmod(round(elapsed / share * (1 - share)), 60)
        left = f"{minutes} min {seconds:02} s" if minutes else f"{seconds} s"
        return f", {share:.0%}{speed}, {left} left"


@contextmanager
def shown_stages(task: str, *, n_photos: int = 1) -> Iterator[Stages]:
    """Show a task on a terminal while it runs; the caller tells each stage as it begins."""
    from rich.console import Console
    from rich.markup import escape

    take_interrupts()
    console = Console(stderr=True)
    with console.status(escape(printable(task))) as status:
        yield Stages(printable(task), status, n_photos, is_seen=console.is_terminal)
