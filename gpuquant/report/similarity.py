"""SSIM: how alike two pictures are to look at, from their brightness."""

import numpy as np
import numpy.typing as npt

WINDOW = 7  # pixels a side, the usual size of square windows
LUMA = np.array([0.299, 0.587, 0.114])  # of red, green and blue, as ITU-R BT.601 has it
STEADY = (0.01 * 255) ** 2, (0.03 * 255) ** 2  # keep quotients of small numbers steady: C1 and C2 of the article

Floats = npt.NDArray[np.float64]


def ssim(
    one: npt.NDArray[np.uint8],  # [H, W, 3]
    other: npt.NDArray[np.uint8],  # [H, W, 3]
) -> float:
    """The mean structural similarity of brightness: 1 for equal pictures, about 0 for unlike ones.

    (2 m n + C1) (2 cov + C2) / ((m^2 + n^2 + C1) (var + var' + C2)), the mean over all square windows of 7 x 7 pixels,
    as in Z. Wang and others 2004, "Image quality assessment: from error visibility to structural similarity".
    """
    x, y = one @ LUMA, other @ LUMA
    mean_x, mean_y = _means(x), _means(y)
    var_x = _means(x * x) - mean_x**2
    var_y = _means(y * y) - mean_y**2
    covariance = _means(x * y) - mean_x * mean_y
    first, second = STEADY
    above = (2 * mean_x * mean_y + first) * (2 * covariance + second)
    below = (mean_x**2 + mean_y**2 + first) * (var_x + var_y + second)
    return float((above / below).mean())


def _means(values: Floats) -> Floats:  # [H, W] -> [H - 6, W - 6]
    """The mean of each window within the picture; of a smaller picture that of all its rows or columns."""
    height, width = (min(WINDOW, side) for side in values.shape)
    n_rows, n_columns = values.shape[0] - height + 1, values.shape[1] - width + 1
    rows: Floats = sum(values[row : row + n_rows] for row in range(1, height)) + values[:n_rows]
    sums: Floats = sum(rows[:, column : column + n_columns] for column in range(1, width)) + rows[:, :n_columns]
    means: Floats = sums / (height * width)
    return means
