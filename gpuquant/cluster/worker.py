"""Worker: a process of a cluster that makes a step and calls it with items, from as many threads as it has jobs."""

import contextlib
import os
import threading
from dataclasses import dataclass
from importlib import import_module
from typing import Any

from gpuquant.memory import share_freed_memory


@dataclass(frozen=True)
class Node:
    """A machine of a cluster."""

    id: str
    name: str  # for people
    n_cpus: int
    n_gpus: int


@dataclass(frozen=True)
class Seat:
    """A place for one worker on a node."""

    node: Node
    number: int  # on its node
    n_workers: int  # of that node, which share its memory
    n_cpus: int
    n_jobs: int  # items that are worked on at a time
    has_gpu: bool


@dataclass(frozen=True)
class Step:
    """A function by name, and what it is given behind the seat, to make in each worker what takes items.

    That is called with an item, whether a worker died that had it before, and a function that tells if the work was
    stopped meanwhile. What it returns goes to whoever asked; None says, in a step that keeps, that it keeps what it
    made of the item. Such a step also has `hand_over()`, which gives away all that it keeps, and `take_over(kept)`,
    which adds what another one gave away.
    """

    name: str  # "module:function"
    given: tuple[Any, ...]


@dataclass(frozen=True)
class NotBegun:
    """The answer of a worker that was stopped before it began with an item."""


class Worker:
    """The work on items in a process of its own; it is asked for one thing at a time, but items, and to stop."""

    def __init__(self, seat: Seat, folder: str) -> None:
        share_freed_memory()
        with contextlib.suppress(OSError):  # which may not be there; relative paths then fail as the driver has found
            os.chdir(folder)
        self._seat, self._stopped = seat, threading.Event()
        self._step: Any = None

    def begin(self, step: Step) -> None:
        """Make the step in place of the one before."""
        module, _, function = step.name.partition(":")
        self._step = getattr(import_module(module), function)(self._seat, *step.given)

    def work(self, item: Any, is_again: bool) -> Any:
        """Call the step with an item, unless the work was stopped."""
        return NotBegun() if self._stopped.is_set() else self._step(item, is_again, self._stopped.is_set)

    def stop(self) -> None:
        """Begin with no more items, for good."""
        self._stopped.set()

    def hand_over(self) -> Any:
        """Give away all that the step keeps."""
        return self._step.hand_over()

    def take_over(self, kept: Any) -> None:
        """Add what another worker gave away."""
        self._step.take_over(kept)


def seats_of(node: Node, jobs: int | None, *, on_gpus: bool) -> list[Seat]:
    """One seat for each GPU; or one for all CPUs of a node. With a number of jobs each takes as many CPUs.

    Examples
    --------
    >>> [(seat.n_jobs, seat.n_cpus) for seat in seats_of(Node("1", "a", 8, 2), None, on_gpus=False)]
    [(8, 8)]
    >>> [(seat.n_jobs, seat.n_cpus) for seat in seats_of(Node("1", "a", 8, 2), None, on_gpus=True)]
    [(4, 4), (4, 4)]
    >>> [(seat.n_jobs, seat.n_cpus) for seat in seats_of(Node("1", "a", 8, 2), 3, on_gpus=False)]
    [(3, 3), (3, 3)]
    >>> [(seat.n_jobs, seat.n_cpus) for seat in seats_of(Node("1", "a", 8, 2), 1, on_gpus=True)]
    [(1, 1), (1, 1)]
    """
    on_cpus = max(1, node.n_cpus // (jobs or node.n_cpus)) if node.n_cpus else 0
    n_workers = node.n_gpus if on_gpus else on_cpus
    share = node.n_cpus // max(1, n_workers)
    n_cpus = min(share, jobs or share)
    return [
        Seat(node, number, n_workers, n_cpus, jobs or max(1, n_cpus), has_gpu=on_gpus) for number in range(n_workers)
    ]
