"""Threads that take items one after the other, and a budget for what they may hold at a time."""

import threading
import traceback
from collections.abc import Callable, Generator, Iterable, Iterator
from contextlib import AbstractContextManager, contextmanager, suppress
from dataclasses import dataclass, field
from queue import Full, Queue
from typing import Any, Generic, TypeVar

Item = TypeVar("Item")
Found = TypeVar("Found")


def in_threads(
    items: Iterable[Item],
    work: Callable[[Item, int], Found],  # of an item, in the thread of this number
    n_threads: int,
    stopped: threading.Event,
) -> Generator[tuple[Item, Found], None, None]:
    """The results as they come. Once stopped, or while nobody asks for more, only items in flight are finished."""
    waiting, turn = iter(items), threading.Lock()
    results: Queue[tuple[Item, Found] | BaseException | None] = Queue(maxsize=n_threads)
    abandoned = threading.Event()

    def tell(result: tuple[Item, Found] | BaseException | None) -> None:
        while not abandoned.is_set():
            with suppress(Full):
                results.put(result, timeout=0.1)
                return

    def run(number: int) -> None:
        try:
            while not (stopped.is_set() or abandoned.is_set()):
                with turn:
                    item = next(waiting)
                tell((item, work(item, number)))
        except StopIteration:
            pass
        except BaseException as error:
            tell(error)
        finally:
            tell(None)

    threads = [threading.Thread(target=run, args=(number,), daemon=True) for number in range(n_threads)]
    try:
        for thread in threads:
            thread.start()
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
            if thread.is_alive():  # one that an interrupt kept from starting may yet start, and ends at once
                thread.join()


class Together(Generic[Item, Found]):
    """A function of many items, for threads that have one each: the thread in turn answers for all that wait."""

    def __init__(self, answer: Callable[[list[Item]], list[Found]], turn: AbstractContextManager[Any]) -> None:
        self._answer, self._turn = answer, turn
        self._serving, self._lock = threading.Lock(), threading.Lock()
        self._waiting: list[_Request[Item, Found]] = []

    def __call__(self, item: Item) -> Found:
        own: _Request[Item, Found] = _Request(item)
        with self._lock:
            self._waiting.append(own)
        with self._serving, self._turn:
            if not own.found:
                with self._lock:
                    requests, self._waiting = self._waiting, []
                self._serve(requests)
        if isinstance(own.found[0], BaseException):
            raise own.found[0]
        return own.found[0]

    def _serve(self, requests: list["_Request[Item, Found]"]) -> None:
        try:
            found = self._answer([one.item for one in requests])
            for one, its in zip(requests, found, strict=True):
                one.found.append(its)
            return
        except Exception as error:  # which may be that of one alone, or a lack of memory for all
            if len(requests) == 1:
                traceback.clear_frames(error.__traceback__)
                requests[0].found.append(error)
                return
        # Out of the handler: the error is gone, and with its traceback the tensors of the attempt that failed.
        for one in requests:
            self._serve([one])


@dataclass(eq=False)
class _Request(Generic[Item, Found]):
    item: Item
    found: list[Found | Exception] = field(default_factory=list)


class SharedBudget:
    """A limit of what is in flight, in bytes; a thread that needs more than that waits until it is alone."""

    def __init__(self, n_bytes: int) -> None:
        self._limit, self._taken = n_bytes, 0
        self._turn, self._changed = threading.Lock(), threading.Condition()

    @contextmanager
    def of(self, n_bytes: int) -> Iterator[None]:
        """Wait, in turn, until there is room for so many bytes."""
        with self._turn, self._changed:
            self._changed.wait_for(lambda: self._taken == 0 or self._taken + n_bytes <= self._limit)
            self._taken += n_bytes
        try:
            yield
        finally:
            with self._changed:
                self._taken -= n_bytes
                self._changed.notify_all()
