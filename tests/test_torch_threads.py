"""torch is held to one thread, helpers are, too, and every thread gets its number back."""

import os
import subprocess
import sys
import threading
from collections.abc import Callable
from pathlib import Path

import pytest
import torch

from gpuquant import threads
from gpuquant.threads import one_blas_thread


def seen() -> tuple[int, int]:
    return torch.get_num_threads(), threads.spare_threads()


def test_threads_are_held_back_and_given_back(set_threads: Callable[[int], None]) -> None:
    def fail() -> None:
        with threads.one_torch_thread():
            assert seen() == (1, 3)
            with threads.one_torch_thread():
                assert seen() == (1, 3)
            assert seen() == (1, 3)
            raise ZeroDivisionError

    set_threads(3)
    assert seen() == (3, 1)
    with pytest.raises(ZeroDivisionError):
        fail()
    assert seen() == (3, 1)


def test_threads_that_overlap_are_all_given_back(set_threads: Callable[[int], None]) -> None:
    """One enters while another is inside, and leaves after it."""
    inside, leave = threading.Event(), threading.Event()
    found: list[tuple[int, int]] = []

    def work() -> None:
        with threads.one_torch_thread():
            found.append(seen())
            inside.set()
            leave.wait(60)
        found.append(seen())

    set_threads(3)
    thread = threading.Thread(target=work)
    with threads.one_torch_thread():
        thread.start()
        inside.wait(60)
    leave.set()
    thread.join()
    assert found == [(1, 3), (3, 1)]
    assert seen() == (3, 1)
    fresh = threading.Thread(target=lambda: found.append(seen()))
    fresh.start()
    fresh.join()
    assert found[-1] == (3, 1)


@pytest.mark.skipif(not Path("/proc/self/task").is_dir(), reason="counts threads in Linux's /proc")
def test_helpers_use_one_thread_each() -> None:
    code = """
import os, time
import torch
from gpuquant.threads import one_torch_thread, share_out

def n_running():
    return len(os.listdir("/proc/self/task"))

def work(item):
    torch.rand(1_000_000).exp_()
    counts.append(n_running())

torch.set_num_threads(2)
torch.rand(1_000_000).exp_()  # starts the second thread
before, counts, end = n_running(), [], time.monotonic() + 30
with one_torch_thread():
    for _ in range(3):
        share_out(range(20), work, 2)
        while n_running() > before and time.monotonic() < end:  # to the system a thread ends after it is joined
            time.sleep(0.001)
print(max(counts) - before)
"""
    environment = os.environ | {"OMP_NUM_THREADS": "8"}
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True, env=environment)
    assert int(done.stdout) == 1  # the helper; with threads of their own there are 8


def test_limits_of_blas_that_overlap_leave_torch_its_threads(set_threads: Callable[[int], None]) -> None:
    """The number of torch's threads is each thread's own; that of BLAS is the process's."""
    set_threads(4)
    entered, leave = threading.Event(), threading.Event()

    def other() -> None:
        torch.set_num_threads(1)
        with one_blas_thread():
            entered.set()
            leave.wait(60)

    thread = threading.Thread(target=other)
    thread.start()
    entered.wait(60)
    torch.set_num_threads(4)
    with one_blas_thread():
        leave.set()
        thread.join()
    assert torch.get_num_threads() == 4
