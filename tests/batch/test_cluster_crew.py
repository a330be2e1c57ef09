"""quantize_files() on a cluster that is played: results, outcomes and palettes of the local batch, whoever dies."""

import json
from collections.abc import Iterator
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import pytest
import torch
from commands import by_name, on_disk, touch
from commands import run as run_here
from played_cluster import Played, PlayedCluster

from gpuquant import quantize_files
from gpuquant.batch import cluster_crew
from gpuquant.batch.cluster_crew import paths_to_see
from gpuquant.batch.file_work import FileWork
from gpuquant.batch.plan import PlannedFile
from gpuquant.cluster.worker import Node
from gpuquant.errors import ArgumentError, ImageFileError
from gpuquant.locations import place_of

VARYING = {"seconds", "target"}  # of outcomes


@pytest.fixture
def cluster(monkeypatch: pytest.MonkeyPatch) -> Iterator[PlayedCluster]:
    n_threads = torch.get_num_threads()
    played = PlayedCluster(2, 1)
    monkeypatch.setattr(cluster_crew, "connected", lambda _: nullcontext(played))
    yield played
    torch.set_num_threads(n_threads)


def files_in(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def told(outcomes: Any) -> list[dict[str, Any]]:
    """Outcomes, but for what differs from run to run."""
    found = [{name: value for name, value in vars(one).items() if name not in VARYING} for one in outcomes]
    return sorted(found, key=lambda one: str(one["source"]))


def dying(*deaths: tuple[str, int, str]) -> Any:
    """A script: a method, how often it was called before, and whether the worker dies "before" or "after"."""
    n_calls = dict.fromkeys(("work", "take_over", "hand_over", "begin"), 0)

    def script(played: Played, method: str, given: Any) -> str | None:
        n_calls[method] += 1
        return next((when for name, number, when in deaths if (name, number) == (method, n_calls[method] - 1)), None)

    return script


@pytest.mark.parametrize("settings", [{}, {"shared_palette": True, "dither": "blue-noise"}])
def test_results_are_those_of_the_local_batch(
    settings: dict[str, Any], folder: Path, tmp_path: Path, cluster: PlayedCluster
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    given: dict[str, Any] = {"recursive": True, **settings}
    expected = list(quantize_files(folder, here, 5, **given))
    log, counted, stages = tmp_path / "log", list[Path](), list[str]()
    given |= {"cluster": "auto", "log": log, "counted": counted.append, "progress": stages.append}
    outcomes = list(quantize_files(folder, there, 5, **given))
    assert told(outcomes) == told(expected)
    assert files_in(there) == files_in(here)
    assert len(outcomes) == 10
    assert [json.loads(line)["source"] for line in log.read_text().splitlines()] == [
        str(one.source) for one in outcomes
    ]
    assert stages == (["count", "cluster", "write"] if settings else ["write"])
    assert len(counted) == len(set(counted)) == (9 if settings else 0)
    assert len(cluster.started) == 2


DEATHS = [
    [("work", 3, "before"), ("work", 12, "after")],
    [("take_over", 0, "after")],
    [("hand_over", 0, "after")],
    [("hand_over", 1, "before"), ("work", 20, "after"), ("work", 21, "before")],
]


@pytest.mark.parametrize("deaths", DEATHS)
def test_workers_that_die_change_nothing(
    deaths: list[Any], folder: Path, tmp_path: Path, cluster: PlayedCluster
) -> None:
    here, there = tmp_path / "here", tmp_path / "there"
    given: dict[str, Any] = {"shared_palette": True, "jobs": 1}
    expected = list(quantize_files(folder, here, 5, **given))
    cluster.script = dying(*deaths)
    outcomes = list(quantize_files(folder, there, 5, **given, cluster="auto"))
    assert told(outcomes) == told(expected)  # also of files whose result was written before the worker died
    assert files_in(there) == files_in(here)
    assert len(cluster.started) > 3


def test_a_file_that_kills_fails_and_the_batch_is_taken_up(
    folder: Path, tmp_path: Path, cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch, capsys: Any
) -> None:
    def script(played: Played, method: str, given: Any) -> str | None:
        return "before" if method == "work" and given[0].source.name == "p2.png" else None

    cluster.script = script
    command = ["batch", folder, "-o", tmp_path / "out", "-k", 3, "--cluster", "auto"]
    code, out, err = run_here(command, monkeypatch, capsys)
    assert code == 1
    assert out.splitlines()[-1].startswith("5 written, 2 failed; ")
    assert f"gpuquant: {folder / 'p2.png'}: the worker died\n" in err
    cluster.script = lambda *_: None
    code, out, _ = run_here([*command, "--skip-existing"], monkeypatch, capsys)
    assert code == 1
    assert out.splitlines()[-1].startswith("1 written, 5 skipped, 1 failed; ")


def test_nothing_to_do_needs_no_cluster(folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    photos = [folder / "p0.png", folder / "p1.png"]
    list(quantize_files(photos, tmp_path, 3))
    monkeypatch.setattr(cluster_crew, "connected", None)
    outcomes = by_name(quantize_files(photos, tmp_path, 3, cluster="auto", existing="skip"))
    assert {one.status for one in outcomes.values()} == {"skipped"}


def test_the_photos_that_every_machine_has_to_see(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """One of each folder that lies in no other; those that this machine does not see fail as they do here."""
    monkeypatch.chdir(tmp_path)
    touch("a/2", "a/3", "a/b/c/4", "a/d/5", "e/d/6", "g/h/8")
    names = ("a/1", "a/2", "a/3", "a/b/c/4", "a/d/5", "e/d/6", "missing/7", "g/7", "g/h/8")
    files = [PlannedFile(Path(name), Path("out", name)) for name in names]
    files.append(PlannedFile(place_of("s3://bucket/a.jpg"), Path("out/a.png")))
    seen = [str(tmp_path / name) for name in ("a/2", "e/d/6", "g/h/8")]
    assert paths_to_see(files) == dict(zip(seen, seen, strict=True))


@pytest.mark.parametrize("of_another", ["photos", "out"])
def test_a_node_with_other_folders_that_are_called_the_same(
    of_another: str, folder: Path, tmp_path: Path, cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are on its own disk: results would be scattered, or photos be missing."""
    touch(str(tmp_path / "of node1" / "other.jpg"))
    there, look = str(tmp_path / "of node1"), cluster.look

    def look_elsewhere(node: Node, paths: dict[str, str]) -> Any:
        own = {path.replace(str(tmp_path / of_another), there): name for path, name in paths.items()}
        return look(node, own if node.name == "node1" else paths)

    monkeypatch.setattr(cluster, "look", look_elsewhere)
    with pytest.raises(ImageFileError, match=f"the node node1 does not see {tmp_path / of_another}") as caught:
        list(quantize_files(folder, tmp_path / "out", cluster="auto"))
    assert ".gpuquant" not in str(caught.value)
    assert not cluster.started
    assert files_in(tmp_path / "out") == {}


@pytest.mark.parametrize("suffix", [None, "-small"])
def test_folders_are_as_they_were(suffix: str | None, folder: Path, tmp_path: Path, cluster: PlayedCluster) -> None:
    """The mark by which machines see that they are the same is gone at the end."""
    out, before = folder if suffix else tmp_path / "out", set(files_in(folder))
    for outcome in quantize_files(folder, out, 3, suffix=suffix, cluster="auto"):
        assert outcome.status == "written" or outcome.source.name == "broken.jpg"
    assert set(files_in(folder)) == before | (
        {f"p{n}-small.png" for n in range(5)} | {"clear-small.png"} if suffix else set()
    )
    assert not [name for name in files_in(out) if name.startswith(".")]


def test_a_folder_for_results_that_takes_none(
    folder: Path, tmp_path: Path, cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(path: Path, **_: Any) -> None:
        raise PermissionError(13, "Permission denied", str(path))

    monkeypatch.setattr(Path, "touch", refuse)
    with pytest.raises(ImageFileError, match=f"{tmp_path / 'out'} cannot be written: Permission denied"):
        list(quantize_files(folder, tmp_path / "out", cluster="auto"))
    assert not cluster.started


def test_a_folder_that_a_node_does_not_see(folder: Path, tmp_path: Path, cluster: PlayedCluster) -> None:
    cluster.sights["node1"] = cluster.look(cluster.there[1], {}).answer[0] | {"unseen": [str(folder)]}
    with pytest.raises(ImageFileError, match=f"the node node1 does not see {folder}; all machines need the same"):
        list(quantize_files(folder, tmp_path / "out", cluster="auto"))
    assert not cluster.started


@pytest.mark.parametrize(
    ("settings", "words"),
    [
        ({"cluster": "everywhere"}, "cluster='everywhere' is no cluster"),
        ({"cluster": "auto", "device": "cuda:1"}, "device='cuda:1' names a device; on a cluster"),
        ({"cluster": "auto", "memory": "much"}, "memory='much'"),
        ({"cluster": "local", "output": "memory://out/"}, "cluster='local': memory://out lies in the memory of this"),
        ({"cluster": "auto", "paths": ["memory://in/a.png"]}, "memory://in/a.png lies in the memory of this process"),
    ],
)
def test_what_cannot_be_used(settings: dict[str, Any], words: str, folder: Path) -> None:
    with pytest.raises(ArgumentError, match=words):
        quantize_files(**{"paths": folder, "output": folder.parent / "out"} | settings)


def test_one_that_is_stopped_before_it_began_needs_no_cluster(
    folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(cluster_crew, "connected", None)
    for shared in (False, True):
        job = quantize_files(folder, tmp_path / "out", 3, cluster="auto", shared_palette=shared)
        job.stop()
        assert list(job) == []


def test_files_that_wait_for_room_when_the_batch_is_stopped(
    folder: Path, tmp_path: Path, cluster: PlayedCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    """They are not begun."""
    room = FileWork._room

    @contextmanager
    def stopped_meanwhile(work: FileWork, file: PlannedFile) -> Iterator[Any]:
        with room(work, file) as opened:
            if file.source.name == "p1.png":
                job.stop()
                for played in cluster.started:
                    played.worker.stop()
            yield opened

    monkeypatch.setattr(FileWork, "_room", stopped_meanwhile)
    job = quantize_files(folder, tmp_path / "out", 3, cluster="auto")
    written = {outcome.target.name for outcome in job if outcome.status == "written"}
    assert "p1.png" not in written
    assert set(files_in(tmp_path / "out")) == written


def test_stopping_finishes_what_is_begun(folder: Path, tmp_path: Path, cluster: PlayedCluster) -> None:
    out, outcomes = tmp_path / "out", []
    job = quantize_files(folder, out, 3, jobs=1, cluster="auto", recursive=True)
    for outcome in job:
        outcomes.append(outcome)
        if len(outcomes) == 3:
            job.stop()
    assert 3 < len(outcomes) < 10
    written = [on_disk(one.target).relative_to(out) for one in outcomes if one.status == "written"]
    assert sorted(files_in(out)) == sorted(map(str, written))  # of no result its outcome is lost
    assert not any(played.is_alive for played in cluster.started)
