"""Calls in other threads whose results come back in order."""

import threading
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from gpuquant.threads import in_order, n_on_their_way, share_out

WORKERS = [1, 2, 5]


@pytest.mark.parametrize("n_workers", WORKERS)
def test_results_are_in_the_order_of_the_items(n_workers: int) -> None:
    taken: list[int] = []

    def square(number: int) -> int:
        time.sleep(0.001 * (number * 7 % 5))
        return number**2

    with in_order(square, taken.append, n_workers) as hand_over:
        for number in range(40):
            hand_over(number)
    assert taken == [number**2 for number in range(40)]


@pytest.mark.parametrize("n_workers", WORKERS)
def test_no_more_than_the_bound_are_on_their_way(n_workers: int) -> None:
    n_begun, taken, most = 0, list[int](), 0
    gate = threading.Semaphore(0)

    def wait(number: int) -> int:
        gate.acquire()
        return number

    with in_order(wait, taken.append, n_workers) as hand_over:
        for number in range(30):
            if number >= n_on_their_way(n_workers) or n_workers == 1:
                gate.release()
            hand_over(number)
            n_begun += 1
            most = max(most, n_begun - len(taken))
        gate.release(100)
    assert most == (n_on_their_way(n_workers) if n_workers > 1 else 0)
    assert taken == list(range(30))


@pytest.mark.parametrize("n_workers", WORKERS)
def test_results_are_taken_in_the_calling_thread(n_workers: int) -> None:
    takers, workers = set(), set()
    with in_order(
        lambda _: workers.add(threading.get_ident()), lambda _: takers.add(threading.get_ident()), n_workers
    ) as hand_over:
        for number in range(20):
            hand_over(number)
    assert takers == {threading.get_ident()}
    assert (threading.get_ident() in workers) == (n_workers == 1)


@pytest.mark.parametrize("n_workers", WORKERS)
@pytest.mark.parametrize("place", ["function", "take", "caller"])
@pytest.mark.usefixtures("no_thread_is_left")
def test_an_error_gives_the_rest_up(n_workers: int, place: str) -> None:
    done: list[int] = []

    def work(number: int) -> int:
        if place == "function" and number == 3:
            raise ValueError("no")
        time.sleep(0.01)
        done.append(number)
        return number

    def take(number: int) -> None:
        if place == "take" and number == 3:
            raise ValueError("no")

    with pytest.raises(ValueError, match="no"), in_order(work, take, n_workers) as hand_over:  # noqa: PT012
        for number in range(1000):
            hand_over(number)
            if place == "caller" and number == 3:
                raise ValueError("no")
    assert len(done) < 3 + 2 * n_on_their_way(n_workers)


class Gate(threading.Event):
    """It opens when a pool of threads is shut down: then nothing more is begun."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        shutdown = ThreadPoolExecutor.shutdown

        def shut_down(pool: ThreadPoolExecutor, wait: bool = True, *, cancel_futures: bool = False) -> None:
            shutdown(pool, wait=False, cancel_futures=cancel_futures)
            self.set()
            shutdown(pool, wait=wait)

        monkeypatch.setattr(ThreadPoolExecutor, "shutdown", shut_down)


def test_what_waits_when_an_error_comes_is_not_begun(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, gate = list[int](), Gate(monkeypatch)

    def work(number: int) -> None:
        begun.append(number)
        gate.wait()

    with pytest.raises(KeyboardInterrupt), in_order(work, print, 2) as hand_over:  # noqa: PT012
        for number in range(n_on_their_way(2)):
            hand_over(number)
        raise KeyboardInterrupt
    assert set(begun) <= {0, 1}


@pytest.mark.usefixtures("no_thread_is_left")
def test_an_interrupt_while_a_helper_starts_gives_the_rest_up(monkeypatch: pytest.MonkeyPatch) -> None:
    begun, is_begun, gate, submit = list[int](), threading.Event(), Gate(monkeypatch), ThreadPoolExecutor.submit

    def submitted(pool: ThreadPoolExecutor, function: Callable[[], None]) -> None:
        submit(pool, function)
        is_begun.wait(60)
        raise KeyboardInterrupt

    def work(number: int) -> None:
        begun.append(number)
        is_begun.set()
        gate.wait(60)

    monkeypatch.setattr(ThreadPoolExecutor, "submit", submitted)
    with pytest.raises(KeyboardInterrupt):
        share_out(range(100), work, 3)
    assert begun == [0]
