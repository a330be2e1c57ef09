"""The status of a run of Lloyd's algorithm while it is on a device."""

from enum import IntEnum


class RunStatus(IntEnum):
    """The reason why a run rests, if it does."""

    GOING = 0
    STILL = 1  # no label changed
    CLOSE = 2  # the centers moved within the limit
    OUT_OF_TIME = 3  # after max_iter iterations
    EMPTY = 4  # a cluster has to be filled by the host
