"""Pixels by way of pinned buffers: the order of copies and waits, on a device that is only played."""

from contextlib import nullcontext
from typing import Any

import pytest
import torch
from torch import Tensor

from gpuquant.ops.pixels import transfers

CPU = torch.device("cpu")


class Event:
    """A buffer must not be written to again before its copy has been waited for."""

    def __init__(self) -> None:
        self.pending = False

    def record(self, _: Any = None) -> None:
        assert not self.pending
        self.pending = True

    def synchronize(self) -> None:
        self.pending = False


class Stream:
    def wait_stream(self, _: Any) -> None: ...

    def wait_event(self, event: Event) -> None:
        assert event.pending


@pytest.fixture
def buffers(monkeypatch: pytest.MonkeyPatch) -> list[Tensor]:
    made: list[Tensor] = []

    def pinned(like: Tensor) -> Tensor:
        made.append(torch.empty_like(like))
        return made[-1]

    for name, fake in (("Event", Event), ("Stream", Stream), ("current_stream", Stream)):
        monkeypatch.setattr(torch.cuda, name, fake)
    monkeypatch.setattr(torch.cuda, "stream", nullcontext)
    monkeypatch.setattr(transfers, "_pinned", pinned)
    monkeypatch.setattr(transfers, "CHUNK_BYTES", 300)
    return made


@pytest.mark.parametrize("n_pixels", [1, 99, 100, 101, 750])
@pytest.mark.parametrize("gray", [False, True])
def test_every_pixel_goes_up_in_order(n_pixels: int, gray: bool, buffers: list[Tensor]) -> None:
    pixels = torch.randint(0, 256, (n_pixels,) if gray else (n_pixels, 3), dtype=torch.uint8)
    consumed: list[Tensor] = []
    there = transfers.upload(pixels, CPU, lambda chunk: consumed.append(chunk.clone()))
    assert torch.equal(there, pixels)
    assert torch.equal(torch.cat(consumed), pixels)
    assert len(buffers) == 2
    assert all(buffer.numel() <= 300 for buffer in buffers)


@pytest.mark.parametrize("dtype", [torch.uint8, torch.uint16, torch.int64])
@pytest.mark.parametrize("n_rows", [1, 7, 60])
def test_values_come_down_in_order(n_rows: int, dtype: torch.dtype, buffers: list[Tensor]) -> None:
    values = torch.randint(0, 200, (n_rows, 13)).to(dtype)
    here = transfers.download(values)
    assert here.dtype == dtype
    assert torch.equal(here.long(), values.long())
    assert len(buffers) == 2
