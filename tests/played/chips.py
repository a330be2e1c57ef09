"""Chips that are not there, as Triton asks about them."""

from triton.backends.compiler import GPUTarget

SHARED = {75: 65_536, 80: 166_912, 86: 101_376, 89: 101_376, 90: 232_448, 120: 101_376}  # bytes that a program may take


class PlayedDriver:
    """Tells the JIT of a chip."""

    def __init__(self, chip: int) -> None:
        self._chip = chip

    def get_current_device(self) -> int:
        return self._chip  # the JIT keeps what it compiled by device

    def get_current_stream(self, _: int) -> int:
        return 0

    def get_current_target(self) -> GPUTarget:
        return GPUTarget("cuda", self._chip, 32)
