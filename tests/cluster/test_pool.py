"""Pool: items of a step in workers that are played, which come, die and go."""

import itertools
import random
import threading
import weakref
from collections import Counter
from collections.abc import Callable
from types import SimpleNamespace
from typing import Any, ClassVar

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from played_cluster import Played, PlayedCluster

from gpuquant.cluster import pool as pools
from gpuquant.cluster.pool import Pool
from gpuquant.cluster.transport import WorkerDiedError
from gpuquant.cluster.worker import Node, Step, seats_of
from gpuquant.errors import DeviceError, ImageFileError

ECHO, TALLY = Step("played_cluster:Echo", ()), Step("played_cluster:Tally", ("no",))
Taken = list[list[int]]


def pool_of(cluster: PlayedCluster, jobs: int | None = None, device: str = "auto") -> Pool:
    return Pool(cluster, {}, jobs=jobs, device=device)


def chained(taken: Taken) -> list[int]:
    return [number for one in taken for number in one]


def counted(pool: Pool, items: Any, stopped: threading.Event | None = None) -> tuple[list[tuple[int, Any]], Taken]:
    taken: Taken = []
    return list(pool.work(TALLY, items, stopped or threading.Event(), taken.append)), taken


def test_all_items_are_worked_on_once_with_few_on_their_way() -> None:
    cluster = PlayedCluster(2, 3)
    found = list(pool_of(cluster).work(ECHO, range(100, 140), threading.Event()))
    assert sorted(found) == [(number, (100 + number, False)) for number in range(40)]
    assert {played.seat.node.name for played in cluster.started} == {"node0", "node1"}
    assert cluster.most_tickets <= 2 * 5


def test_what_workers_keep_is_added_up_as_in_a_tree() -> None:
    cluster = PlayedCluster(*[1] * 8)
    pool = pool_of(cluster)
    found, taken = counted(pool, [*range(100), -5])
    assert [result for number, result in found if number == 100] == ["no -5"]
    assert sorted(number for number, result in found if result is None) == list(range(100))
    assert [sorted(one) for one in taken] == [list(range(100))]
    assert (cluster.asked["hand_over"], cluster.asked["take_over"]) == (8, 7)
    found, taken = counted(pool, range(3))  # nothing is left of before
    assert sorted(chained(taken)) == [0, 1, 2]


def test_workers_that_come_late_begin_with_the_step_that_is_due() -> None:
    for seed in range(20):
        pool = pool_of(PlayedCluster(1, 1, seed=seed))
        counted(pool, range(2))  # one of them may have begun by then
        found = list(pool.work(ECHO, range(6), threading.Event()))
        assert sorted(found) == [(number, (number, False)) for number in range(6)]


@settings(max_examples=150)
@given(seed=st.integers(0, 2**32 - 1), n_items=st.integers(0, 30), n_deaths=st.integers(0, 7))
def test_whoever_dies_each_item_is_kept_once(seed: int, n_items: int, n_deaths: int) -> None:
    draw = random.Random(seed)
    left = [n_deaths]

    def script(played: Played, method: str, _: Any) -> str | None:
        if left[0] and method != "begin" and draw.random() < 0.2:
            left[0] -= 1
            return draw.choice(["before", "after"])
        return None

    cluster = PlayedCluster(1, 2, 1, 1, script=script, seed=seed)
    items = [-number if number % 7 == 3 else number for number in range(n_items)]
    found, taken = counted(pool_of(cluster), items)
    given_up = [number for number, result in found if isinstance(result, WorkerDiedError)]
    refused = [number for number, result in found if isinstance(result, str)]
    kept = chained(taken)
    assert sorted(kept + refused + given_up) == list(range(n_items))
    assert not refused or all(items[number] < 0 for number in refused)
    told = Counter(number for number, result in found if result is None)
    assert set(told) >= set(kept)
    assert not told or max(told.values()) == 1
    assert n_deaths >= 3 or not given_up


def test_an_item_that_kills_costs_three_workers_and_no_other_item() -> None:
    cluster = PlayedCluster(
        4, script=lambda _, method, given: "before" if method == "work" and given[0] == 13 else None
    )
    found = dict(pool_of(cluster).work(ECHO, range(20), threading.Event()))
    assert isinstance(found.pop(13), WorkerDiedError)
    assert {number: item for number, (item, _) in found.items()} == {n: n for n in range(20) if n != 13}
    assert any(is_again for _, is_again in found.values())
    assert len(cluster.started) == 3 + 1


def test_a_node_that_is_lost_and_one_that_joins(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "SECONDS_BETWEEN_LOOKS", 0)

    def script(played: Played, method: str, given: Any) -> str | None:
        if method == "work" and given[0] == 9:
            cluster.there = [stays, joins]
        return None if played.seat.node in cluster.there else "before"

    cluster, joins = PlayedCluster(1, 1, script=script), Node("id9", "node9", 1, 0)
    _, stays = cluster.there
    found, taken = counted(pool_of(cluster), range(60))
    assert sorted(chained(taken)) == list(range(60))
    assert {played.seat.node.name for played in cluster.started} == {"node0", "node1", "node9"}
    assert not [one for _, one in found if one]


class Noting:
    """A step that notes which items it had."""

    begun: ClassVar[list[int]] = []

    def __init__(self, _: Any) -> None:
        self.begun.clear()

    def __call__(self, item: int, is_again: bool, is_stopped: Callable[[], bool]) -> int | None:
        self.begun.append(item)
        return item

    def hand_over(self) -> list[int]:
        return []


NOTING = Step(f"{__name__}:Noting", ())


@pytest.mark.parametrize("take", [None, [].append])
def test_stopping_finishes_what_is_begun(take: Callable[[Any], None] | None) -> None:
    """Two items; not those that the worker has beside them, for later."""
    cluster, stopped = PlayedCluster(2), threading.Event()
    found = []
    for number, _ in pool_of(cluster).work(NOTING, range(100), stopped, take):
        found.append(number)
        stopped.set()
    assert len(found) == 1 + 2
    assert sorted(found) == sorted(Noting.begun)
    assert cluster.asked["work"] == 4
    assert counted(pool_of(PlayedCluster(2)), range(100), stopped) == ([], [])


def test_closing_waits_for_what_is_begun() -> None:
    cluster = PlayedCluster(2)
    pool = pool_of(cluster)
    running = pool.work(NOTING, range(100), threading.Event())
    next(running)
    pool.close()
    assert len(Noting.begun) == 1 + 2
    assert not any(played.is_alive for played in cluster.started)


def test_stopped_while_it_looks_at_nodes(monkeypatch: pytest.MonkeyPatch) -> None:
    """One of them never answers."""
    cluster, stopped = PlayedCluster(2), threading.Event()

    def ready(tickets: list[Any], seconds: float) -> list[Any]:
        assert not stopped.is_set()
        stopped.set()
        return []

    monkeypatch.setattr(cluster, "ready", ready)
    pool = pool_of(cluster)
    assert list(pool.work(ECHO, range(9), stopped)) == []
    pool.close()
    assert not cluster.started


class Result:
    """A result, of which it is known whether it is still there."""

    alive: ClassVar["weakref.WeakSet[Result]"] = weakref.WeakSet()

    def __init__(self, item: int) -> None:
        self.item = item

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        Result.alive.add(self)


class Making:
    """A step that makes results."""

    def __init__(self, _: Any) -> None:
        pass

    def __call__(self, item: int, is_again: bool, is_stopped: Callable[[], bool]) -> Result:
        return Result(item)


def test_a_hundred_thousand_items_leave_nothing_but_their_results() -> None:
    cluster = PlayedCluster(4, 4)
    pool, most = pool_of(cluster), 0
    total = 0
    for _, result in pool.work(Step(f"{__name__}:Making", ()), range(100_000), threading.Event()):
        total += result.item
        if result.item % 1000 == 0:
            most = max(most, len(Result.alive), len(pool._calls))
    assert total == sum(range(100_000))
    assert most <= 17
    assert cluster.most_tickets <= 16


@pytest.mark.parametrize(
    ("sight", "kind", "words"),
    [
        (
            {"gpuquant": "9.1"},
            DeviceError,
            r"the node node1 has gpuquant 9\.1 and Python .*, and this machine gpuquant 0",
        ),
        ({"python": "3.99.1"}, DeviceError, r"has gpuquant [0-9.]+ and Python 3\.99, and this machine"),
        ({"gpuquant": None}, DeviceError, "has no gpuquant and Python"),
        ({"unseen": ["/data", "/more"]}, ImageFileError, "the node node1 does not see /data and 1 more; all machines"),
    ],
)
def test_nodes_that_differ_are_named(sight: dict[str, Any], kind: type[Exception], words: str) -> None:
    cluster = PlayedCluster(1, 1, 1)
    cluster.sights["node1"] = cluster.look(cluster.there[1], {}).answer[0] | sight
    with pytest.raises(kind, match=words):
        next(pool_of(cluster).work(ECHO, range(9), threading.Event()))
    assert not cluster.started


def test_nodes_with_other_libraries_are_used_and_told_of_once() -> None:
    """The second of two that have the same says nothing new."""
    cluster = PlayedCluster(1, 1, 1)
    sight = cluster.look(cluster.there[1], {}).answer[0]
    for name, libraries in (("node1", {"pillow": "9.1"}), ("node2", {"pillow": "9.1"})):
        cluster.sights[name] = sight | {"libraries": sight["libraries"] | libraries}
    with pytest.warns(UserWarning, match="the node node[12] has pillow 9.1, and this machine pillow") as told:
        assert len(list(pool_of(cluster).work(ECHO, range(20), threading.Event()))) == 20
    assert len(told) == 1
    assert {played.seat.node.name for played in cluster.started} == {"node0", "node1", "node2"}


def test_one_that_joins_and_differs_is_not_used(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "SECONDS_BETWEEN_LOOKS", 0)
    cluster = PlayedCluster(1)
    pool = pool_of(cluster)
    cluster.there.append(Node("id1", "node1", 1, 0))
    cluster.sights["node1"] = cluster.look(cluster.there[0], {}).answer[0] | {"unseen": ["/data"]}
    with pytest.warns(UserWarning, match="node1 does not see /data; .* it is not used"):
        assert len(list(pool.work(ECHO, range(20), threading.Event()))) == 20
    assert {played.seat.node.name for played in cluster.started} == {"node0"}


def test_workers_sit_on_gpus_where_there_are_any() -> None:
    cluster = PlayedCluster(8, 8, n_gpus=2)
    cluster.there[0] = Node("id0", "node0", 8, 0)
    assert len(list(pool_of(cluster).work(ECHO, range(9), threading.Event()))) == 9
    assert [(one.seat.node.name, one.seat.has_gpu, one.seat.n_jobs) for one in cluster.started] == [
        ("node1", True, 4)
    ] * 2
    cluster = PlayedCluster(4, n_gpus=1)
    list(pool_of(cluster, jobs=1, device="cpu").work(ECHO, range(9), threading.Event()))
    assert [(one.seat.has_gpu, one.seat.n_jobs, one.seat.n_workers) for one in cluster.started] == [(False, 1, 4)] * 4
    with pytest.raises(DeviceError, match='device="cuda" is not there: no node of the cluster has a GPU'):
        pool_of(PlayedCluster(2), device="cuda")


def test_a_cluster_where_nothing_can_be_done() -> None:
    with pytest.raises(DeviceError, match="no place to work: none of its nodes has a CPU"):
        next(pool_of(PlayedCluster(0)).work(ECHO, range(9), threading.Event()))
    cluster = PlayedCluster(1, script=lambda _, method, given: "before" if method == "begin" else None)
    with pytest.raises(DeviceError, match="no place to work: node0: workers there die before they begin"):
        next(pool_of(cluster).work(ECHO, range(9), threading.Event()))
    assert len(cluster.started) == pools.MOST_FAILED_STARTS


def test_who_waits_for_others_is_told_so(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(pools, "SECONDS_TO_BEGIN", -1)
    with pytest.warns(UserWarning, match="no worker begins") as told:
        assert len(list(pool_of(PlayedCluster(8, 4)).work(ECHO, range(9), threading.Event()))) == 9
    waiting = "no worker begins: one takes 4 CPUs of node1 at once, which others may use; waiting for them"
    assert [str(one.message) for one in told] == [f"{waiting}; with jobs=1 a worker takes one CPU"]
    with pytest.warns(UserWarning, match="one takes 1 CPU and a GPU of node0 at once, .* waiting for them$"):
        list(pool_of(PlayedCluster(8, n_gpus=2), jobs=1).work(ECHO, range(9), threading.Event()))


def test_who_waits_again_is_told_again(monkeypatch: pytest.MonkeyPatch) -> None:
    """The only worker died, and others were faster to take its place."""
    monkeypatch.setattr(pools, "SECONDS_TO_BEGIN", 0)
    now = itertools.count()
    monkeypatch.setattr(pools, "time", SimpleNamespace(monotonic=lambda: next(now)))
    deaths = iter(["before"])
    cluster = PlayedCluster(2, script=lambda _, method, __: next(deaths, None) if method == "work" else None)
    with pytest.warns(UserWarning, match="no worker begins") as told:
        assert len(list(pool_of(cluster).work(ECHO, range(9), threading.Event()))) == 9
    assert len(told) == 2


@given(n_cpus=st.integers(0, 64), n_gpus=st.integers(0, 8), jobs=st.none() | st.integers(1, 100), on_gpus=st.booleans())
def test_seats(n_cpus: int, n_gpus: int, jobs: int | None, on_gpus: bool) -> None:
    """None needs more than the node has, nor more CPUs than it has jobs: another may be at home there, too."""
    seats = seats_of(Node("1", "a", n_cpus, n_gpus), jobs, on_gpus=on_gpus)
    assert sum(seat.n_cpus for seat in seats) <= n_cpus
    assert all(seat.n_cpus <= seat.n_jobs for seat in seats)
    assert len(seats) == n_gpus or not on_gpus
    assert bool(seats) == bool(n_gpus if on_gpus else n_cpus)
    assert jobs is None or all(seat.n_jobs == jobs for seat in seats)


def test_an_error_of_a_step_is_raised() -> None:
    with pytest.raises(ModuleNotFoundError, match="nowhere"):
        next(pool_of(PlayedCluster(1)).work(Step("nowhere:step", ()), range(9), threading.Event()))
