"""A forked process gives the results of the one that it came from, and never waits for threads that stayed there."""

import os
import subprocess
import sys

import pytest
import torch
from commands import FORKED, HANGING

from gpuquant.devices import resolve_device
from gpuquant.errors import DeviceError

needs_fork = pytest.mark.skipif(not hasattr(os, "fork"), reason="the platform has no fork")


# It runs in a process of its own: pytest's has threads, and Python warns of forking such a one.
START = """
import sys, threading, warnings
import numpy as np
import torch
import gpuquant
from gpuquant import threads

warnings.simplefilter("ignore")
torch.set_num_threads(3)
random = np.random.RandomState(0)
samples = random.rand(60_000, 3)
photo = random.randint(0, 256, (200, 200, 4), dtype=np.uint8)
"""


def run(code: str) -> str:
    """Run Python, and give what it prints; a process that is late is killed, its children by their own alarms."""
    done = subprocess.run(
        [sys.executable, "-c", FORKED + START + code], capture_output=True, text=True, timeout=HANGING, check=False
    )
    assert done.returncode == 0, done.stderr
    return done.stdout


@needs_fork
def test_a_child_uses_the_cpu_where_its_parent_found_no_other_device() -> None:
    """The CUDA build of torch takes a child for one that has lost its device where there is none, too."""
    code = """
from gpuquant.devices import resolve_device

torch.cuda.is_available = lambda: False
resolve_device("auto")
torch.cuda._is_in_bad_fork = lambda: True
torch.cuda.is_available = lambda: 1 / 0
print(forked(lambda: resolve_device("auto").type == "cpu"))
"""
    assert run(code) == "0\n"


@needs_fork
def test_a_child_gives_the_same_bits() -> None:
    """The parent's threads are at work before, as torch keeps those it has begun."""
    code = """
calls = {
    "samples": lambda: gpuquant.KMeans(5, random_state=0, max_iter=3).fit(samples).cluster_centers_.tobytes(),
    "kmeans": lambda: gpuquant.kmeans(torch.from_numpy(samples), 5, max_iter=3).centers.numpy().tobytes(),
    "oklab": lambda: gpuquant.quantize(photo[..., :3], 5, color_space="oklab", device="cpu").labels.tobytes(),
    "alpha": lambda: gpuquant.quantize(photo, 5, device="cpu").labels.tobytes(),
}
for name, call in calls.items():
    torch.rand(1_000_000).exp_()
    before = call()
    print(name, forked(lambda: call() == before))
"""
    assert run(code) == "samples 0\nkmeans 0\noklab 0\nalpha 0\n"


@needs_fork
def test_threads_of_ours_share_the_work_of_a_child() -> None:
    """And of its children; torch itself has one, and gets that one back."""
    code = """
def seen(torchs, ours):
    with threads.one_torch_thread():
        inside = threads.spare_threads()
    return (torch.get_num_threads(), threads.worker_threads(), inside) == (torchs, ours, ours)

torch.rand(1_000_000).exp_()
print(forked(lambda: seen(1, 3)), forked(lambda: forked(lambda: seen(1, 3)) == 0))
with threads.one_torch_thread():
    inside = forked(lambda: threads.spare_threads() == 3 and torch.get_num_threads() == 1)
    left = os.fork()
if not left:
    signal.alarm(100)
    torch.rand(1_000_000).exp_()
    before = seen(1, 3)
    torch.set_num_threads(2)
    os._exit(0 if before and seen(2, 2) else 1)
print(inside, os.waitstatus_to_exitcode(os.waitpid(left, 0)[1]), seen(3, 3))
"""
    assert run(code) == "0 0\n0 0 True\n"


@needs_fork
def test_a_lock_that_another_thread_held_is_free_in_a_child() -> None:
    code = """
inside, leave = threading.Event(), threading.Event()

def hold():
    with threads.one_torch_thread(), threads._threads._lock:
        inside.set()
        leave.wait(60)

def enter():
    with threads.one_torch_thread():
        return threads.spare_threads() == 3

thread = threading.Thread(target=hold)
thread.start()
inside.wait(60)
print(forked(enter))
leave.set()
thread.join()
"""
    assert run(code) == "0\n"


@needs_fork
def test_other_locks_are_free_in_a_child_and_what_they_held_is_undone() -> None:
    code = """
from contextlib import ExitStack
from gpuquant import threads
from gpuquant.ops.pixels import cpu_counting, cpu_tables
from gpuquant.ops.lloyd import ieee_products

locked = cpu_tables.kept_tables, threads._one_blas_thread, ieee_products.ieee_products
with threads.one_blas_thread():
    pass
before = ieee_products.product_precision()
inside, leave = threading.Event(), threading.Event()

def hold():
    with ExitStack() as stack:
        for one in (*locked[1:], *(each._lock for each in locked)):
            stack.enter_context(one)
        inside.set()
        leave.wait(60)

def use():
    cpu_counting.count_colors(torch.zeros(1500 * 1500, 3, dtype=torch.uint8))
    if ieee_products.product_precision() != before:
        return False
    with ieee_products.ieee_products, threads.one_blas_thread():
        return True

thread = threading.Thread(target=hold)
thread.start()
inside.wait(60)
print(forked(use))
leave.set()
"""
    assert run(code) == "0\n"


@needs_fork
def test_workers_of_a_loader_keep_the_one_thread_that_torch_gives_them() -> None:
    code = """
class Photos(torch.utils.data.Dataset):
    def __len__(self):
        return 2

    def __getitem__(self, index):
        return threads.worker_threads()

torch.rand(1_000_000).exp_()
loader = torch.utils.data.DataLoader(Photos(), num_workers=1, multiprocessing_context="fork", timeout=100)
print([int(found) for found in loader])
"""
    assert run(code) == "[1, 1]\n"


@pytest.mark.parametrize("device", ["auto", "cuda", "cuda:1"])
def test_cuda_that_stayed_in_the_parent_is_an_error(device: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "_is_in_bad_fork", lambda: True)
    with pytest.raises(DeviceError, match=f"device='{device}': this process was forked .* use device=\"cpu\""):
        resolve_device(device)
    assert resolve_device("cpu").type == "cpu"
    assert resolve_device("auto", tensor_device=torch.device("cpu")).type == "cpu"
