"""Launches of the same kernel over and over."""

from typing import Any


class Launches:
    """Launches with arguments of the same types and alignment, on one grid.

    The first one goes through Triton's JIT, which looks at every argument in Python: that takes more than ten
    microseconds. The others go straight to the compiled kernel that it found.
    """

    def __init__(self, kernel: Any, grid: tuple[int, int], constants: dict[str, Any], **options: Any) -> None:
        self._kernel, self._grid, self._constants, self._options = kernel, grid, constants, options
        self._compiled: Any = None  # it stays so in the interpreter

    def __call__(self, *given: Any) -> None:  # the arguments before the constants
        if self._compiled is None:
            self._compiled = self._kernel[self._grid](*given, **self._constants, **self._options)
        else:
            names = self._kernel.arg_names[len(given) :]
            self._compiled[*self._grid, 1](*given, *(self._constants[name] for name in names))
