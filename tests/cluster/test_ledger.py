"""Ledger: no item is lost, none is done twice, whoever dies whenever."""

import tracemalloc

from hypothesis import given, settings
from hypothesis import strategies as st

from gpuquant.cluster.ledger import MOST_DEATHS, Ledger

N_WORKERS = 3
EVENTS = st.lists(
    st.tuples(st.sampled_from(["ask", "ask", "work", "work", "refuse", "die", "move", "safe"]), st.integers(0, 99))
)


class Workers:
    """Workers as the ledger is told of them: items in work, and what they really keep."""

    def __init__(self, n_items: int) -> None:
        self.ledger, self.n_items = Ledger(n_items), n_items
        self.in_work: dict[int, list[int]] = {number: [] for number in range(N_WORKERS)}
        self.kept: dict[int, list[int]] = {number: [] for number in range(N_WORKERS)}
        self.here: list[int] = []  # what was kept, and is safe
        self.results: list[int] = []  # of items that are not kept: every third one
        self.given_up: list[int] = []
        self.n_born = N_WORKERS

    def happens(self, event: str, number: int) -> None:
        workers = list(self.in_work)
        worker = workers[number % len(workers)]
        if event == "ask":
            item = self.ledger.next_for(worker)
            if item is not None:
                self.in_work[worker].append(item)
        elif event == "work" and self.in_work[worker]:
            item = self.in_work[worker].pop(number % len(self.in_work[worker]))
            is_kept = item % 3 != 0
            self.ledger.worked(worker, item, is_kept=is_kept)
            (self.kept[worker] if is_kept else self.results).append(item)
        elif event == "refuse" and self.in_work[worker]:
            self.ledger.refused(worker, self.in_work[worker].pop())
        elif event == "die":
            self.given_up += self.ledger.lost(worker)
            del self.in_work[worker], self.kept[worker]
            self.in_work[self.n_born], self.kept[self.n_born] = [], []
            self.n_born += 1
        elif event == "safe" and self.kept[worker]:
            self.ledger.safe(worker)
            self.here += self.kept[worker]
            self.kept[worker] = []
        elif event == "move":
            other = workers[(number + 1) % len(workers)]
            if self.kept[worker] and self.kept[other]:
                self.ledger.moved(worker, other)
                self.kept[other] += self.kept[worker]
                self.kept[worker] = []

    def end(self) -> None:
        """Work everything off, without further deaths."""
        for _ in range(10 * self.n_items * MOST_DEATHS + 1):
            for number in range(N_WORKERS):
                self.happens("ask", number)
                self.happens("work", number)
        assert self.ledger.is_worked_off
        assert self.ledger.keepers == [worker for worker, kept in self.kept.items() if kept]
        for number in range(N_WORKERS):
            self.happens("safe", number)


@settings(max_examples=60)
@given(n_items=st.integers(0, 8), events=EVENTS)
def test_each_item_is_done_once(n_items: int, events: list[tuple[str, int]]) -> None:
    workers = Workers(n_items)
    for event, number in events:
        workers.happens(event, number)
        done = len(workers.here) + len(workers.results) + len(workers.given_up)
        assert workers.ledger.is_over == (done == n_items)
        assert workers.ledger.n_in_work == sum(map(len, workers.in_work.values()))
    workers.end()
    assert workers.ledger.is_over
    assert sorted(workers.here + workers.results + workers.given_up) == list(range(n_items))


def test_a_worker_takes_what_it_keeps_with_it() -> None:
    ledger = Ledger(3)
    for item in (0, 1):
        assert ledger.next_for(7) == item
        assert ledger.worked(7, item, is_kept=True)
    assert ledger.next_for(7) == 2
    assert ledger.lost(7) == []
    found = [ledger.next_for(8) for _ in range(4)]
    assert found == [0, 1, 2, None]
    assert [ledger.is_again(item) for item in range(3)] == [False, False, True]  # to blame is what was in work
    assert not ledger.worked(8, 0, is_kept=True)  # for the first time


def items_for(worker: int, ledger: Ledger) -> list[int]:
    """All that a worker gets at a time."""
    return list(iter(lambda: ledger.next_for(worker), None))


def test_an_item_that_kills_is_given_up_and_takes_no_other_with_it() -> None:
    ledger, done, n_deaths = Ledger(5), list[int](), 0
    for worker in range(20):
        mine = items_for(worker, ledger)
        if 4 in mine:  # the item that kills
            n_deaths += 1
            assert ledger.lost(worker) == ([4] if n_deaths == MOST_DEATHS else [])
        else:
            done += mine
            for item in mine:
                ledger.worked(worker, item, is_kept=False)
    assert n_deaths == MOST_DEATHS
    assert sorted(done) == [0, 1, 2, 3]
    assert ledger.is_over


def test_who_dies_of_handing_over_does_so_three_times_at_most() -> None:
    ledger, given_up = Ledger(2), list[int]()
    for worker in range(MOST_DEATHS):
        while mine := items_for(worker, ledger):
            for item in mine:
                ledger.worked(worker, item, is_kept=True)
        given_up += ledger.lost(worker)
    assert given_up == [0, 1]
    assert ledger.is_over


def test_the_bytes_of_an_item() -> None:
    """Two, and eight more where a worker keeps it: an array grows by an eighth at a time."""
    n_items = 100_000
    tracemalloc.start()
    ledger = Ledger(n_items)
    begun, _ = tracemalloc.get_traced_memory()
    for _ in range(n_items):
        item = ledger.next_for(1)
        assert item is not None
        ledger.worked(1, item, is_kept=True)
    kept, _ = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert 2 * n_items <= begun <= 2 * n_items + 10_000
    assert 8 * n_items <= kept - begun <= 9 * n_items + 10_000
