"""Pixels to a CUDA device and labels back, through two small pinned buffers, while either side goes on working."""

from collections.abc import Callable

import torch
from torch import Tensor

CHUNK_BYTES = 1 << 24  # of each of the two buffers: pinned memory stays small, whatever the photo


def upload(
    pixels: Tensor,  # [N, ...] uint8, contiguous, on the CPU
    device: torch.device,
    consume: Callable[[Tensor], None],
) -> Tensor:
    """Copy pixels to a device; each chunk is consumed there while the next one is on its way."""
    there = torch.empty(pixels.shape, dtype=pixels.dtype, device=device)
    with torch.cuda.device_of(there):
        _send(pixels, there, consume)
    return there


def _send(pixels: Tensor, there: Tensor, consume: Callable[[Tensor], None]) -> None:
    step = _rows(pixels)
    buffers = None if pixels.is_pinned() else [_pinned(pixels[:step]) for _ in range(2)]
    copied = [torch.cuda.Event() for _ in range(2)]
    stream, current = torch.cuda.Stream(), torch.cuda.current_stream()
    stream.wait_stream(current)
    try:
        for number, (source, target) in enumerate(zip(pixels.split(step), there.split(step), strict=True)):
            turn = number % 2
            if buffers:
                if number > 1:
                    copied[turn].synchronize()  # what the buffer held has gone
                source = buffers[turn][: len(source)].copy_(source)
            with torch.cuda.stream(stream):
                target.copy_(source, non_blocking=True)
                copied[turn].record(stream)
            current.wait_event(copied[turn])
            consume(target)
    finally:
        current.wait_stream(stream)  # also after an error nobody writes to memory that was given back


def download(values: Tensor) -> Tensor:  # [N, ...], contiguous, on a CUDA device -> the same on the CPU
    """Copy values to the CPU, into ordinary memory."""
    here = torch.empty(values.shape, dtype=values.dtype)
    with torch.cuda.device_of(values):
        _fetch(values, here)
    return here


def _fetch(values: Tensor, here: Tensor) -> None:
    step = _rows(values)
    buffers = [_pinned(here[:step]) for _ in range(2)]
    copied = [torch.cuda.Event() for _ in range(2)]
    parts, targets = values.split(step), here.split(step)

    def fetch(number: int) -> None:
        buffers[number % 2][: len(parts[number])].copy_(parts[number], non_blocking=True)
        copied[number % 2].record()

    for number in range(len(parts) + 1):
        if number < len(parts):
            fetch(number)
        if number > 0:
            copied[(number - 1) % 2].synchronize()
            targets[number - 1].copy_(buffers[(number - 1) % 2][: len(targets[number - 1])])


def _rows(values: Tensor) -> int:
    """About as many rows as a buffer holds: a multiple of 16 where it can be, so that all chunks are aligned alike."""
    n_rows = max(1, CHUNK_BYTES // max(1, values[:1].numel() * values.element_size()))
    return n_rows // 16 * 16 or n_rows


def _pinned(like: Tensor) -> Tensor:
    return torch.empty(like.shape, dtype=like.dtype, pin_memory=True)
