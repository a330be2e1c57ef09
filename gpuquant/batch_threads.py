"""Threads that take items one after the other, and a budget for what they may hold at a time."""

import threading
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from queue import SimpleQueue
from typing import TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_threads(
    items: Iterable[Item],
    work: Callable[[Item, int], Found],  # of an item, in the thread of this number
    n_threads: int,
    stopped: threading.Event,
) -> Iterator[tuple[Item, Found]]:
    """The results as they come. Once stopped, or when nobody asks for more, only items in flight are finished."""
    waiting, turn = iter(items), threading.Lock()
    results: SimpleQueue[tuple[Item, Found] | BaseException | None] = SimpleQueue()
    abandoned = threading.Event()

    def run(number: int) -> None:
        try:
            while not (stopped.is_set() or abandoned.is_set()):
                with turn:
                    item = next(waiting)
                results.put((item, work(item, number)))
        except StopIteration:
            pass
        except BaseException as error:
            results.put(error)
        finally:
            results.put(None)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(n_threads)]
    for thread in threads:
        thread.start()
    try:
        n_running = n_threads
        while n_running:
            found = results.get()
            if found is None:
                n_running -= 1
            elif isinstance(found, BaseException):
                raise found
            else:
                yield found
    finally:
        abandoned.set()
        for thread in threads:
            thread.join()


class PixelBudget:
    """How many pixels are in flight at most; whoever needs more than that waits until it is alone."""

    def __init__(self, n_pixels: int) -> None:
        self._limit, self._taken = n_pixels, 0
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def of(self, n_pixels: int) -> Iterator[None]:
        """Wait, in turn, until there is room for so many."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + n_pixels <= self._limit)
            self._taken += n_pixels
        try:
            yield
        finally:
            with self._changed:
                self._taken -= n_pixels
                self._changed.notify_all()
