"""Worker: what it answers before and after it is stopped."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

from gpuquant.cluster.worker import Node, NotBegun, Seat, Step, Worker

SEAT = Seat(Node("1", "far", 1, 0), 0, 1, 1, 1, has_gpu=False)


def asking(_: Any) -> Callable[..., Any]:
    """A step that returns what tells it that it was stopped."""
    return lambda item, is_again, is_stopped: is_stopped


def test_a_worker_that_is_stopped() -> None:
    worker = Worker(SEAT, str(Path.cwd()))
    worker.begin(Step(f"{__name__}:asking", ()))
    is_stopped = worker.work(1, False)
    assert not is_stopped()
    worker.stop()
    assert is_stopped()
    assert worker.work(2, False) == NotBegun()
