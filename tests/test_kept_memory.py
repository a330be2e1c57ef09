"""Memory that is used again: only when no array is in it, and only while it is kept."""

import threading
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import gpuquant
from gpuquant import kept_memory
from gpuquant.kept_memory import FEWEST_BYTES, MOST_BYTES, KeptMemory, label_memory, pixel_memory

SHAPE = (FEWEST_BYTES // 2, 4)


def address(array: np.ndarray) -> int:
    return int(array.__array_interface__["data"][0])


def test_memory_is_used_again() -> None:
    memory = KeptMemory()
    with memory.kept():
        first = memory.empty(SHAPE, np.uint8)
        where = address(first)
        first[:] = 7
        del first
        second = memory.empty((FEWEST_BYTES // 4, 3), np.uint16)
        assert address(second) == where
        assert second.shape == (FEWEST_BYTES // 4, 3)
        assert second.dtype == np.uint16
        assert second.flags.c_contiguous
        assert (second.view(np.uint8)[:9] == 7).all()
        second[:] = 0


def test_memory_is_not_used_again_while_a_view_or_a_tensor_is_on_it() -> None:
    memory = KeptMemory()
    with memory.kept():
        view = memory.empty(SHAPE, np.uint8)[5:9, 1]
        tensor = torch.from_numpy(memory.empty(SHAPE, np.uint8)).view(-1)[3:]
        view[:], tensor[:] = 1, 1
        for other in [memory.empty(SHAPE, np.uint8) for _ in range(3)]:
            other[:] = 2
        assert (view == 1).all()
        assert bool((tensor == 1).all())


def test_memory_that_is_too_small_is_replaced() -> None:
    memory = KeptMemory()
    with memory.kept():
        memory.empty(SHAPE, np.uint8)
        larger = memory.empty((3 * FEWEST_BYTES,), np.uint8)
        larger[:] = 1
        where = address(larger)
        del larger
        assert address(memory.empty(SHAPE, np.uint8)) == where
        assert len(memory._free) == 1


def test_memory_that_is_much_too_large_is_given_up() -> None:
    memory = KeptMemory()
    with memory.kept():
        memory.empty((5 * FEWEST_BYTES,), np.uint8)
        small = memory.empty((FEWEST_BYTES,), np.uint8)
        assert small.base is not None
        assert not memory._free
        del small
        assert [len(one) for one in memory._free] == [FEWEST_BYTES]


def test_memory_that_comes_back_in_another_thread_after_the_last_context_is_given_up() -> None:
    memory = KeptMemory()
    with memory.kept():
        lent = [memory.empty(SHAPE, np.uint8) for _ in range(4)]
    threads = [threading.Thread(target=lent.pop) for _ in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert not memory._free


def test_memory_is_kept_until_the_last_context_is_closed() -> None:
    memory = KeptMemory()
    with memory.kept():
        with memory.kept():
            late = memory.empty(SHAPE, np.uint8)
            memory.empty(SHAPE, np.uint8)
        assert len(memory._free) == 1
    assert not memory._free
    late[:] = 3
    del late
    memory.empty(SHAPE, np.uint8)
    assert not memory._free


@pytest.mark.parametrize("n_bytes", [0, 1, FEWEST_BYTES - 1, MOST_BYTES + 1])
def test_little_and_much_is_not_kept(n_bytes: int) -> None:
    memory = KeptMemory()
    with memory.kept():
        assert memory.empty((n_bytes,), np.uint8).shape == (n_bytes,)
        assert not memory._free


def test_a_batch_uses_memory_again(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Photos of several sizes and kinds, one after the other and two at a time."""
    monkeypatch.setattr(kept_memory, "FEWEST_BYTES", 0)
    taken: list[int] = []
    take_back = KeptMemory.take_back

    def noted(own: KeptMemory, memory: np.ndarray) -> None:
        taken.append(address(memory))
        take_back(own, memory)

    monkeypatch.setattr(KeptMemory, "take_back", noted)
    random = np.random.RandomState(0)
    shapes = [(30, 40, 3), (7, 90, 3), (50, 50, 4), (64, 3), (31, 40, 3), (5, 6, 3), (80, 20)]
    for place, shape in enumerate(shapes):
        Image.fromarray(random.randint(0, 256, shape, dtype=np.uint8)).save(tmp_path / f"{place}.png")
    for jobs in (1, 2):
        output = tmp_path / f"out-{jobs}"
        outcomes = list(gpuquant.quantize_files(tmp_path, output, 5, device="cpu", jobs=jobs))
        assert [outcome.status for outcome in outcomes] == ["written"] * len(shapes)
        for outcome in outcomes:
            with Image.open(outcome.target) as image:
                alone = gpuquant.quantize(outcome.source, 5, device="cpu")
                np.testing.assert_array_equal(np.asarray(image), alone.labels)
                np.testing.assert_array_equal(
                    np.reshape(image.getpalette("RGB") or [], (-1, 3)), alone.palette.rows[:, :3]
                )
    assert len(set(taken)) < len(taken)
    assert not pixel_memory._free
    assert not label_memory._free
