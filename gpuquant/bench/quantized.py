"""The result of a quantizer, whichever it is."""

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True, eq=False)
class Quantized:
    """The result of a quantizer."""

    palette: npt.NDArray[Any]  # [K, 3] in levels, rounded or not
    labels: npt.NDArray[Any]  # [H, W] or [N]
    n_iter: int | None = None  # where it tells
    seconds: float | None = None  # of a program's own work, where that is less than the call
    peak_megabytes: float | None = None  # of a program's process, above one that has just started
    version: str = ""  # of what the package holds, where it is not the package's
