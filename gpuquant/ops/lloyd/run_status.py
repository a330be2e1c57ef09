"""The status of a run of Lloyd's algorithm."""

from enum import IntEnum


class RunStatus(IntEnum):
    """The reason why a run rests, if it does."""

    GOING = 0
    STILL = 1  # no label changed, and no center moved
    CLOSE = 2  # the centers moved within the limit, or without relaxation no label changed
    OUT_OF_TIME = 3  # after max_iter iterations
    EMPTY = 4  # a cluster has to be filled by the host
