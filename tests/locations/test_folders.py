"""Folders, and the ways from them, beside those that a browser goes."""

from pathlib import Path
from urllib.parse import urljoin

import pytest

from gpuquant.errors import ImageFileError
from gpuquant.locations import common_folder, is_inside, make_folder, place_of, resolved, way_to

OUT = place_of("s3://me:hunter2@bucket/a/out")


@pytest.mark.parametrize(
    "below", ["a.jpg", "a/a.jpg", "a/out/a.jpg", "a/out/sub/a b.jpg", "b/x/y.jpg", "a/out-2/a.jpg", "a/.../b.jpg"]
)
def test_ways_within_a_bucket(below: str) -> None:
    way = way_to(place_of(f"s3://me:hunter2@bucket/{below}"), OUT)
    assert way is not None
    assert urljoin("http://host/bucket/a/out/report.html", way) == f"http://host/bucket/{below}"
    assert way_to(place_of("memory://out/a.jpg"), place_of("memory://")) == "out/a.jpg"


@pytest.mark.parametrize(
    "url",
    [
        "s3://me:hunter2@other/a/out/a.jpg", "s3://you:hunter2@bucket/a/out/a.jpg", "gs://me:hunter2@bucket/a/out/a.jpg",
        "https://bucket/a/out/a.jpg", "s3://me:hunter2@bucket/a//out/a.jpg", "s3://me:hunter2@bucket/a/../b.jpg",
        "bucket/a/out/a.jpg",
    ],
)  # fmt: skip
def test_where_there_is_no_way(url: str) -> None:
    assert way_to(place_of(url), OUT) is None
    assert way_to(OUT, Path("out")) is None


def test_ways_on_disk(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "out").mkdir()
    (tmp_path / "link").symlink_to("out")
    monkeypatch.chdir(tmp_path)
    assert way_to(Path("link/a.png"), Path("out")) == "a.png"
    assert way_to(Path("a.png"), tmp_path / "link") == "../a.png"
    assert resolved(Path("link/a.png")) == resolved(Path("out/a.png")) == str(tmp_path / "out" / "a.png")
    (tmp_path / "a.png").symlink_to("out")
    assert resolved(Path("a.png")) == str(tmp_path / "a.png")
    assert resolved(OUT / "a.png") == "s3://bucket/a/out/a.png"


def test_the_folder_that_several_have_in_common(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "link").symlink_to("a/b")
    paths: list[tuple[list[str | Path], str | Path]] = [
        (["a/b", tmp_path / "a" / "c"], "a"), (["a", "b"], "."), (["a/b", "link"], "a/b"), (["a/c", "link"], "a"),
        (["x/y"], "x/y"), ([tmp_path / "a", "a/b"], tmp_path / "a"), (["../b", "c"], ".."),
    ]  # fmt: skip
    for folders, path in paths:
        assert common_folder([Path(folder) for folder in folders]) == Path(path)
    for names, common in (
        (["a/b", "a/c/d"], "a"), (["a/b"], "a/b"), (["a/bc", "a/bd"], "a"), (["a", "b"], ""), (["a/b", "a"], "a")
    ):  # fmt: skip
        found = common_folder([place_of(f"s3://me:hunter2@bucket/{name}/") for name in names])
        assert found == place_of(f"s3://me:hunter2@bucket/{common}")
        assert is_inside(str(OUT), str(found)) == (common in ("a", ""))
    assert common_folder([place_of("s3://a/x"), place_of("s3://b/x")]) is None
    assert common_folder([place_of("s3://a/x"), Path("x")]) is None


def test_folders_are_made_on_disk_alone(tmp_path: Path) -> None:
    make_folder(OUT)
    make_folder(tmp_path / "a" / "b")
    make_folder(tmp_path / "a" / "b")
    assert [path.name for path in (tmp_path / "a").iterdir()] == ["b"]
    (tmp_path / "file").write_bytes(b"")
    for name in ("file", "file/below"):
        with pytest.raises(ImageFileError, match=f"{name} cannot be written: "):
            make_folder(tmp_path / name)
