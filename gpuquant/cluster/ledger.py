"""Ledger: the items of a step that wait, that a worker has, that it keeps, and that are done. It knows no Ray."""

from array import array
from collections import deque

MOST_DEATHS = 3  # of workers that had an item in work: it is tried twice more, as they may have died of something else


class Ledger:
    """Items by their numbers, and workers by theirs: two bytes an item, and eight more for one that a worker keeps.

    An item is done when its result is here; or, where workers keep what they made of items (one histogram of many
    photos), when that is here. A worker that dies takes with it what it keeps: all of that is worked on anew.
    """

    def __init__(self, n_items: int) -> None:
        self._n_items, self._n_done, self._n_begun = n_items, 0, 0
        self._n_deaths, self._seen = bytearray(n_items), bytearray(n_items)
        self._again: deque[int] = deque()
        self._last_tries: deque[int] = deque()
        self._in_work: dict[int, set[int]] = {}
        self._kept: dict[int, array[int]] = {}

    @property
    def is_over(self) -> bool:
        """True when all items are done."""
        return self._n_done == self._n_items

    @property
    def is_worked_off(self) -> bool:
        """True when no item waits or is in work: all are done, or kept by workers."""
        waiting = self._n_begun < self._n_items or self._again or self._last_tries
        return not waiting and not self.n_in_work

    @property
    def n_in_work(self) -> int:
        """The number of items that workers have."""
        return sum(map(len, self._in_work.values()))

    @property
    def keepers(self) -> list[int]:
        """The workers that keep something, in order."""
        return sorted(self._kept)

    def n_in_work_of(self, worker: int) -> int:
        """The number of items that a worker has."""
        return len(self._in_work.get(worker, ()))

    def is_again(self, item: int) -> bool:
        """True of an item that a worker had when it died."""
        return self._n_deaths[item] > 0

    def next_for(self, worker: int) -> int | None:
        """Give a worker an item, if there is one for it.

        The last try of an item has a worker for itself, so that no other item is blamed for its death; at best a new
        one, which keeps nothing that could be lost.
        """
        mine = self._in_work.setdefault(worker, set())
        if mine and max(self._n_deaths[item] for item in mine) == MOST_DEATHS - 1:
            return None
        if self._last_tries and not mine and (worker not in self._kept or not self._others_wait):
            item = self._last_tries.popleft()
        elif self._again:
            item = self._again.popleft()
        elif self._n_begun < self._n_items:
            item, self._n_begun = self._n_begun, self._n_begun + 1
        else:
            return None
        mine.add(item)
        return item

    @property
    def _others_wait(self) -> bool:
        return bool(self._again) or self._n_begun < self._n_items

    def worked(self, worker: int, item: int, *, is_kept: bool) -> bool:
        """Take down that a worker is through with an item; True when that happens for the first time."""
        self._in_work[worker].remove(item)
        if is_kept:
            self._kept.setdefault(worker, array("q")).append(item)
        else:
            self._n_done += 1
        is_first, self._seen[item] = not self._seen[item], 1
        return is_first

    def refused(self, worker: int, item: int) -> None:
        """Take down that a worker has not begun with an item, which waits again."""
        self._in_work[worker].remove(item)
        self._again.append(item)

    def moved(self, giver: int, taker: int) -> None:
        """Take down that a worker has handed over what it keeps to another."""
        self._kept[taker] += self._kept.pop(giver)

    def safe(self, worker: int) -> None:
        """Take down that what a worker kept is here: these items are done."""
        self._n_done += len(self._kept.pop(worker))

    def lost(self, worker: int) -> list[int]:
        """Have all items of a worker that died done anew; those that are given up, and are done.

        To blame are the items in work; or, where there are none, those that were kept: it died of handing them over.
        """
        in_work = self._in_work.pop(worker, set())
        kept = self._kept.pop(worker, array("q"))
        blamed = in_work or set(kept)
        given_up = []
        for item in sorted(in_work.union(kept)):
            self._n_deaths[item] += item in blamed
            if self._n_deaths[item] == MOST_DEATHS:
                given_up.append(item)
            else:
                (self._last_tries if self._n_deaths[item] == MOST_DEATHS - 1 else self._again).append(item)
        self._n_done += len(given_up)
        return given_up
