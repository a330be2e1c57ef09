"""Numbers of threads: how many torch, the BLAS and our own workers may use, decided in one place."""

import os
import threading
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from functools import cache
from typing import Any, TypeVar

import torch
from threadpoolctl import ThreadpoolController
from torch.utils.data import get_worker_info

Item = TypeVar("Item")
Result = TypeVar("Result")


def n_cores() -> int:
    """Count the cores that this process may use."""
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1


class _Threads:
    """The number of threads that torch had before it was held to one: torch's setting is that of new threads, too."""

    def __init__(self) -> None:
        self._lock, self._n_inside, self._number = threading.Lock(), 0, 1
        self._n_free = self._n_before_fork = 1

    def available(self) -> int:
        """Count the threads that may work: torch's, or, in a forked process, those that its parent had."""
        number = torch.get_num_threads()
        if number > 1 or get_worker_info() is not None:  # a DataLoader's worker is to have one thread
            return number
        return self._n_before_fork

    def take(self) -> int:
        with self._lock:
            if self._n_inside == 0:
                self._number, self._n_free = torch.get_num_threads(), self.available()
            self._n_inside += 1
            torch.set_num_threads(1)
            return self._n_free

    def give_back(self) -> None:
        with self._lock:
            self._n_inside -= 1
            torch.set_num_threads(self._number)

    def begin_anew(self) -> None:
        """Hold torch to the only thread that a forked process has: it would wait for those that stayed behind."""
        self._n_before_fork = self._n_free if self._n_inside else self.available()
        self._lock, self._n_inside, self._number = threading.Lock(), int(is_held()), 1
        torch.set_num_threads(1)


class _Spare(threading.local):
    n_threads = 1
    depth = 0


_threads, _spare = _Threads(), _Spare()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_threads.begin_anew)


@contextmanager
def one_torch_thread() -> Iterator[None]:
    """Hold torch to the calling thread, and leave the others to `spare_threads`.

    Threads gain little on small matrices, and where another process is busy they wait for each other after every
    operation: k-means on a photo of 0.4 megapixels then took 25 times as long (measured).
    """
    if _spare.depth == 0:
        _spare.n_threads = _threads.take()
    _spare.depth += 1
    try:
        yield
    finally:
        _spare.depth -= 1
        if _spare.depth == 0:
            _spare.n_threads = 1
            _threads.give_back()


def spare_threads() -> int:
    """Count the threads for work that torch would split: within `one_torch_thread` those that it leaves, else 1."""
    return _spare.n_threads


def worker_threads() -> int:
    """Count the threads for work that torch would not split."""
    return _spare.n_threads if _spare.depth else _threads.available()


def is_held() -> bool:
    """Tell whether the calling thread is within `one_torch_thread`."""
    return _spare.depth > 0


def hold_helper() -> None:
    """Hold torch to one thread in a helper of a thread within `one_torch_thread`: a new one uses as many as cores."""
    if torch.get_num_threads() > 1:
        torch.set_num_threads(1)


def share_out(items: Sequence[Item], function: Callable[[Item], None], n_workers: int) -> None:
    """Call `function` on every item from `n_workers` threads; items go out one at a time, so no thread waits long."""
    pending = deque(items)
    inference, held = torch.is_inference_mode_enabled(), is_held()  # of the calling thread

    def work() -> None:
        if held:
            hold_helper()
        with torch.inference_mode(inference):
            work_off()

    def work_off() -> None:
        try:
            while pending:
                try:
                    item = pending.popleft()
                except IndexError:  # another thread took the last one
                    return
                function(item)
        except BaseException:  # an interrupt may also come between two items
            pending.clear()
            raise

    n_helpers = min(n_workers, len(items)) - 1
    if n_helpers < 1:
        work_off()
        return
    with ThreadPoolExecutor(n_helpers, thread_name_prefix="gpuquant") as pool:
        try:
            helpers = [pool.submit(work) for _ in range(n_helpers)]
            work()
            for helper in helpers:
                helper.result()
        except BaseException:
            pending.clear()  # an interrupt may also come before a helper is known to have started
            raise


def n_on_their_way(n_workers: int) -> int:
    """Count the items that `in_order` holds at most: one for each thread, and as many that wait, so that none idles."""
    return 2 * n_workers if n_workers > 1 else 1


@contextmanager
def in_order(
    function: Callable[[Item], Result], take: Callable[[Result], None], n_workers: int
) -> Iterator[Callable[[Item], None]]:
    """Hand items over as they come to `function` in other threads; `take` gets the results here, in the items' order.

    Whoever hands over one item more than may be on their way waits. After an error, or an interrupt, those that wait
    are given up. With one worker all happens in the calling thread.
    """
    if n_workers <= 1:
        yield lambda item: take(function(item))
        return
    pending: deque[Future[Result]] = deque()
    with ThreadPoolExecutor(n_workers, thread_name_prefix="gpuquant") as pool:

        def hand_over(item: Item) -> None:
            while pending and (len(pending) >= n_on_their_way(n_workers) or pending[0].done()):
                take(pending.popleft().result())
            pending.append(pool.submit(function, item))

        try:
            yield hand_over
            while pending:
                take(pending.popleft().result())
        except BaseException:
            pool.shutdown(wait=False, cancel_futures=True)
            raise


class _OneBlasThread:
    """A limit of the whole process: the first user in sets it, and the last one out takes it back."""

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._n_users = 0
        self._limiter: Any = None

    def __enter__(self) -> None:
        with self._lock:
            if self._n_users == 0:
                self._limiter = _libraries().limit(limits=1)
            self._n_users += 1

    def __exit__(self, *_: object) -> None:
        with self._lock:
            self._n_users -= 1
            if self._n_users == 0:
                self._limiter.restore_original_limits()

    def begin_anew(self) -> None:
        """Forget, in a forked process, the users of the limit: they stayed in the parent."""
        self._lock = threading.Lock()
        if self._n_users:
            self._n_users = 0
            self._limiter.restore_original_limits()


_one_blas_thread = _OneBlasThread()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_one_blas_thread.begin_anew)


def one_blas_thread() -> AbstractContextManager[None]:
    """Hold the BLAS to one thread: others of its own would get in the way of ours, and of torch's."""
    return _one_blas_thread


@cache
def _libraries() -> Any:
    return ThreadpoolController().select(user_api="blas")  # of OpenMP it would restore other threads' numbers, too
