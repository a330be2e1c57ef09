"""Threads, turns and the budget of a batch."""

import gc
import itertools
import threading
import weakref
from typing import Any

import pytest

from gpuquant.batch.workers import SharedBudget, Together, _Request, in_threads


def test_who_has_the_turn_answers_for_all_who_wait() -> None:
    turn, answered = threading.Lock(), []

    def answer(items: list[int]) -> list[int]:
        answered.append(sorted(items))
        if -1 in items:
            raise ValueError("no")
        return [item * item for item in items]

    together: Together[int, int] = Together(answer, turn)
    found: dict[int, Any] = {}

    def ask(item: int) -> None:
        try:
            found[item] = together(item)
        except ValueError as error:
            found[item] = str(error)

    threads = [threading.Thread(target=ask, args=(item,)) for item in (-1, 2, 3)]
    with turn:
        for thread in threads:
            thread.start()
        while len(together._waiting) < 3:
            threading.Event().wait(0.001)
    for thread in threads:
        thread.join()
    assert found == {-1: "no", 2: 4, 3: 9}  # the error is that of one alone
    assert answered[0] == [-1, 2, 3]


class Attempt:
    """A stand-in for memory that an attempt holds on a device."""


def test_who_is_tried_again_finds_the_memory_free() -> None:
    held: list[weakref.ref[Attempt]] = []

    def answer(items: list[int]) -> list[int]:
        assert [one() for one in held] == [None] * len(held)
        attempt = Attempt()
        held.append(weakref.ref(attempt))
        if len(items) > 1 or items[0] == 5:
            raise MemoryError
        return items

    together: Together[int, int] = Together(answer, threading.Lock())
    requests: list[_Request[int, int]] = [_Request(item) for item in (4, 5, 6)]
    gc.disable()  # no cycle keeps what failed
    try:
        together._serve(requests)
        assert [one() for one in held] == [None] * 4
    finally:
        gc.enable()
    assert [type(one.found[0]) for one in requests] == [int, MemoryError, int]


def test_a_budget_is_never_exceeded() -> None:
    budget, taken, most, lock = SharedBudget(10), 0, 0, threading.Lock()

    def work(n_pixels: int, _: int) -> None:
        nonlocal taken, most
        with budget.of(n_pixels):
            with lock:
                taken += n_pixels
                most = max(most, taken) if n_pixels <= 10 else most
                assert taken == n_pixels or taken <= 10
            threading.Event().wait(0.001)
            with lock:
                taken -= n_pixels

    sizes = [1, 4, 9, 25, 3, 3, 3, 3, 10, 2] * 5
    assert len(list(in_threads(sizes, work, 6, threading.Event()))) == len(sizes)
    assert 4 < most <= 10


def test_an_error_in_a_thread_is_raised() -> None:
    def work(item: int, _: int) -> int:
        if item == 3:
            raise KeyError(item)
        return item

    with pytest.raises(KeyError):
        list(in_threads(range(9), work, 2, threading.Event()))


@pytest.mark.parametrize("is_started", [False, True])
@pytest.mark.usefixtures("no_thread_is_left")
def test_an_interrupt_while_threads_start_ends_them(is_started: bool, monkeypatch: pytest.MonkeyPatch) -> None:
    """It comes before the second of three starts, or before that is known."""
    threads, start = list[threading.Thread](), threading.Thread.start

    def started(thread: threading.Thread) -> None:
        threads.append(thread)
        if len(threads) == 1 or is_started:
            start(thread)
        if len(threads) == 2:
            raise KeyboardInterrupt

    monkeypatch.setattr(threading.Thread, "start", started)
    with pytest.raises(KeyboardInterrupt):
        next(in_threads(itertools.count(), lambda item, _: item, 3, threading.Event()))
