"""The lowest scores of points, |c|^2 - 2 x.c in single precision, of four centers at once: for compiled loops."""

from typing import Any

from gpuquant.ops.compiled import written_out

CENTERS = 4  # that are scored at once; missing ones are never the nearest
CHUNK = 256  # points that are scored together: they stay in the innermost cache (measured beside 128 and 512)
EPS, LEAST = 2.0**-52, 2.0**-1022  # of double precision
EPS_SINGLE, LEAST_SINGLE = 2.0**-23, 2.0**-126


@written_out
def with_score(score: Any, number: Any, lowest: Any, second: Any, found: Any) -> Any:
    """The lowest score, the second lowest and the first center that has the lowest, after one more center.

    A center is a number in single precision, too: loops over types of one width are twice as fast.
    """
    higher = score if score > lowest else lowest
    second = higher if higher < second else second
    found = number if score < lowest else found
    lowest = score if score < lowest else lowest
    return lowest, second, found
