"""The plan of a batch: which files are read, and that every result has a place of its own inside the output folder."""

import errno
import os
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest
from commands import check, on_disk, touch
from hypothesis import example, given
from hypothesis import strategies as st

from gpuquant import quantize_files
from gpuquant.batch.plan import Plan, check_inside, plan_files
from gpuquant.errors import ArgumentError, ImageFileError

PIECES = ["a", "A", "b", "ß", "ss", ".", ".jpg", ".JPG", ".png", ".tif", "-2", "-3"]
NAMES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=4).map("".join).filter(lambda name: name.strip("."))


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that relative paths start from, beside which there is nothing."""
    (tmp_path / "work").mkdir()
    monkeypatch.chdir(tmp_path / "work")
    return tmp_path / "work"


def pairs(plan: Plan, output: str = "out") -> list[tuple[str, str]]:
    return [(str(file.source), str(on_disk(file.target).relative_to(output))) for file in plan.files]


def sources(plan: Plan) -> list[str]:
    return [str(file.source) for file in plan.files]


def targets(*names: str) -> list[str]:
    """The places of the results of files that are given one by one."""
    return [target for _, target in pairs(plan_files([f"in/{name}" for name in names], "out"))]


@pytest.mark.usefixtures("folder")
def test_a_folder_gives_its_images_in_order() -> None:
    touch(
        "in/b.jpg", "in/a.PNG", "in/c.tiff", "in/B.webp", "in/.d.jpg", "in/.jpg", "in/notes.txt", "in/jpg", "in/e.pdf"
    )
    Path("in/folder.jpg").mkdir()
    os.mkfifo("in/pipe.jpg")
    expected = [("in/B.webp", "B.webp.png"), ("in/a.PNG", "a.png"), ("in/b.jpg", "b.jpg.png"), ("in/c.tiff", "c.png")]
    expected += [("in/pipe.jpg", "pipe.png")]  # which fails
    assert pairs(plan_files(["in"], "out")) == expected
    assert not Path("out").exists()


@pytest.mark.usefixtures("folder")
def test_a_file_is_taken_whatever_its_name() -> None:
    touch("in/notes.txt", "in/.hidden.jpg", "in/photo", "in/deep/a.jpg")
    given = ["in/notes.txt", "in/.hidden.jpg", "in/photo", "in/deep/a.jpg"]
    expected = list(zip(given, ["notes.gif", ".hidden.gif", "photo.gif", "a.gif"], strict=True))
    assert pairs(plan_files(given, "out", ending=".gif")) == expected


@pytest.mark.usefixtures("folder")
def test_sub_folders_keep_their_tree() -> None:
    touch("in/b.jpg", "in/sub/deep/a.jpg", "in/sub/c.jpg", "in/also/d.jpg", "in/.hidden/e.jpg")
    assert pairs(plan_files(["in"], "out")) == [("in/b.jpg", "b.png")]
    expected = ["b", "also/d", "sub/c", "sub/deep/a"]
    expected_pairs = [(f"in/{name}.jpg", f"{name}.png") for name in expected]
    assert pairs(plan_files([Path("in")], Path("out"), recursive=True)) == expected_pairs


@pytest.mark.usefixtures("folder")
def test_a_hidden_folder_is_read_when_it_is_named() -> None:
    touch(".in/a.jpg")
    assert pairs(plan_files([".in"], "out")) == [(".in/a.jpg", "a.png")]


@pytest.mark.usefixtures("folder")
def test_symlinks() -> None:
    touch("in/a.jpg", "elsewhere/b.jpg")
    Path("in/file.jpg").symlink_to("../elsewhere/b.jpg")
    Path("in/loop").symlink_to(".")
    Path("in/folder").symlink_to("../elsewhere")
    Path("in/itself.jpg").symlink_to("itself.jpg")
    Path("in/broken.jpg").symlink_to("nothing.jpg")
    Path("link").symlink_to("in")
    names = ["a.jpg", "broken.jpg", "file.jpg", "itself.jpg"]  # the broken ones fail
    assert sources(plan_files(["in"], "out", recursive=True)) == [f"in/{name}" for name in names]
    assert sources(plan_files(["link"], "out", recursive=True)) == [f"link/{name}" for name in names]
    assert sources(plan_files(["in/itself.jpg"], "out")) == ["in/itself.jpg"]


@pytest.mark.usefixtures("folder")
def test_an_unreadable_folder_is_a_source_that_fails(monkeypatch: pytest.MonkeyPatch) -> None:
    touch("in/a.jpg", "in/closed/b.jpg", "in/open/c.jpg")
    scandir = os.scandir

    def guarded(path: str) -> object:
        if str(path).endswith("closed"):
            raise PermissionError(13, "Permission denied")
        return scandir(path)

    monkeypatch.setattr(os, "scandir", guarded)
    plan = plan_files(["in"], "out", recursive=True)
    assert sources(plan) == ["in/a.jpg", "in/closed", "in/open/c.jpg"]


@pytest.mark.usefixtures("folder")
def test_what_does_not_exist_stays_in_the_plan() -> None:
    os.mkfifo("pipe.jpg")
    given = ["none/a.jpg", "pipe.jpg", "b" * 300]
    expected = list(zip(given, ["a.png", "pipe.png", "b" * 300 + ".png"], strict=True))
    assert pairs(plan_files(given, "out")) == expected


@pytest.mark.usefixtures("folder")
def test_an_empty_plan_says_where_it_looked() -> None:
    for name in "abcdefg":
        Path(name).mkdir()
    touch("in/sub/a.jpg", "in/notes.txt", "text/sub/notes.txt")
    for paths, words in (
        ([], "no files or folders are given"),
        (["a"], "there are no image files to read in a"),
        (["a", "b"], "there are no image files to read in a, b"),
        (list("abcdefg"), "there are no image files to read in a, b, c, d, e and 2 more"),
        (["in", "a"], r"in in, a; 1 passed over: 1 \.txt; sub-folders are read with recursive=True \(--recursive\)"),
    ):
        with pytest.raises(ArgumentError, match=f"{words}$"):
            plan_files(paths, "out")
    with pytest.raises(ArgumentError, match=r"to read in text; 1 passed over: 1 \.txt$"):
        plan_files(["text"], "out", recursive=True)
    assert sources(plan_files(["a", "in"], "out", recursive=True)) == ["in/sub/a.jpg"]


@pytest.mark.usefixtures("folder")
def test_results_are_not_read() -> None:
    touch("in/a.jpg", "in/out/a.png", "in/out/deep/b.png", "in/outer/c.jpg")
    Path("in/result.png").symlink_to("out/a.png")
    Path("elsewhere").symlink_to("in/out")
    for output in ("in/out", "in/../in/out/", "elsewhere", Path("in/out").resolve()):
        assert sources(plan_files(["in"], output, recursive=True)) == ["in/a.jpg", "in/outer/c.jpg"]
    assert sources(plan_files(["in/out/a.png"], "in/out")) == ["in/out/a.png"]
    assert sources(plan_files(["in", "in/out"], "in/out")) == ["in/a.jpg"]
    with pytest.raises(ArgumentError, match=r"what lies in the output folder is not read$"):
        plan_files(["in/out"], "in/out", recursive=True)
    for named in (["in/out/deep"], ["in", "in/out/deep"]):
        with pytest.raises(ArgumentError, match=r"^in/out/deep lies in the output folder in/out, where no photos are"):
            plan_files(named, "in/out")
    assert sources(plan_files(["in/out/deep"], "in/out", suffix="-x")) == ["in/out/deep/b.png"]
    touch("only/out/a.png")
    with pytest.raises(ArgumentError, match=r"to read in only$"):
        plan_files(["only"], "only/out")


@pytest.mark.usefixtures("folder")
def test_a_file_is_taken_once() -> None:
    touch("in/a.jpg", "in/sub/b.jpg")
    Path("link.jpg").symlink_to("in/a.jpg")
    given: list[str | Path] = ["in/../in/a.jpg", "in", Path("in/sub").resolve(), "in/sub/b.jpg", "link.jpg", "in"]
    assert sources(plan_files(given, "out", recursive=True)) == [
        "in/../in/a.jpg",
        "in/sub/b.jpg",
        "link.jpg",  # a name of its own
    ]
    assert pairs(plan_files(["in", "./in/", "in/../in"], "out")) == [("in/a.jpg", "a.png")]


def test_several_folders_keep_their_names(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("one/a.jpg", "two/a.jpg", "two/in/a.jpg", "c.jpg")
    plan = plan_files(["one", "two", "c.jpg"], "out", recursive=True)
    assert [target for _, target in pairs(plan)] == ["one/a.png", "two/a.png", "two/in/a.png", "c.png"]
    monkeypatch.chdir(folder / "one")
    plan = plan_files([".", "../two/in/..", ".."], "out")
    assert pairs(plan) == [
        ("a.jpg", "one/a.png"),
        ("../two/in/../a.jpg", "two/a.png"),
        ("../c.jpg", "work/c.png"),
    ]


def test_the_root_has_no_name(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    touch("one/a.jpg", "root/b.jpg")
    realpath, scandir = os.path.realpath, os.scandir
    monkeypatch.setattr(os.path, "realpath", lambda path: "/" if str(path) == "root" else realpath(path))
    monkeypatch.setattr(os, "scandir", lambda path: scandir(folder / "root" if path == "/" else path))
    assert pairs(plan_files(["one", "root"], "out")) == [("one/a.jpg", "one/a.png"), ("root/b.jpg", "b.png")]


def test_what_would_share_a_target_keeps_its_full_name() -> None:
    assert targets("a.jpg", "b.jpg", "a.png") == ["a.jpg.png", "b.png", "a.png.png"]
    assert targets("a.jpg", "A.tif", "a.b.jpg") == ["a.jpg.png", "A.tif.png", "a.b.png"]
    assert targets("straße.jpg", "STRASSE.png") == ["straße.jpg.png", "STRASSE.png.png"]


def test_what_still_collides_is_numbered() -> None:
    assert targets("1/a.jpg", "2/a.jpg", "3/A.JPG") == ["a.jpg.png", "a.jpg-2.png", "A.JPG-3.png"]
    assert targets("a.jpg", "a.jpg.png", "a.png") == ["a.jpg.png", "a.jpg-2.png", "a.png.png"]
    assert targets("a.jpg", "a.JPG", "a.jpg-2.tif") == ["a.jpg.png", "a.JPG-3.png", "a.jpg-2.png"]


@pytest.mark.usefixtures("folder")
def test_equal_folder_names() -> None:
    touch("1/in/a.jpg", "2/in/a.jpg", "2/in/b.jpg")
    found = [target for _, target in pairs(plan_files(["1/in", "2/in"], "out"))]
    assert found == ["in/a.jpg.png", "in/a.jpg-2.png", "in/b.png"]


@pytest.mark.usefixtures("folder")
def test_no_result_has_the_name_of_a_folder() -> None:
    touch("in/a.jpg", "in/A.png/deep/b.jpg", "in/a.jpg.png/c.jpg")
    found = [target for _, target in pairs(plan_files(["in"], "out", recursive=True))]
    assert found == ["a.jpg-2.png", "A.png/deep/b.png", "a.jpg.png/c.png"]


@pytest.mark.parametrize("ending", ["", "png", ".", "/../../a.png", ".a/b", ".png/"])
def test_what_is_no_ending(ending: str) -> None:
    with pytest.raises(ArgumentError, match="is not the ending of a file"):
        plan_files(["a.jpg"], "out", ending=ending)


@given(st.lists(st.tuples(st.sampled_from(["1", "2", "missing", "..", "."]), NAMES | st.sampled_from(["..", "..."]))))
@example([("1", "a.jpg"), ("2", "a.jpg"), ("1", "a.jpg-2.tif"), ("1", "a.tif")])
def test_targets_of_single_files(places: list[tuple[str, str]]) -> None:
    given = [f"/no/such/{folder}/{name}" for folder, name in places]
    if given:
        plan = plan_files(given, "/no/output")
        assert plan.files == plan_files(given, "/no/output").files
        assert {os.path.realpath(on_disk(file.source)) for file in plan.files} == {
            os.path.realpath(path) for path in given
        }
        check(plan, Path("/no/output"))


@given(st.lists(st.lists(NAMES, min_size=1, max_size=3), min_size=1, max_size=12), st.booleans())
def test_targets_of_trees(files: list[list[str]], split: bool) -> None:
    with tempfile.TemporaryDirectory() as name:
        top = Path(name).resolve() / "in"
        top.mkdir()
        for parts in files:
            path = top.joinpath(*parts)
            folders = path.parents[: len(parts)]
            if not path.is_dir() and not any(folder.is_file() for folder in folders):
                path.parent.mkdir(parents=True, exist_ok=True)
                path.write_bytes(b"")
        given = [*top.iterdir(), top / ".." / "in", top / "missing" / ".."] if split else [top]
        visible = {
            path
            for path in top.rglob("*")
            if path.is_file()
            and path.suffix.lower() in (".jpg", ".png", ".tif")
            and not any(part.startswith(".") for part in path.relative_to(top).parts)
        }
        if not visible and not split:
            return
        plan = plan_files(given, top / "out", recursive=True)
        found = [on_disk(file.source).resolve() for file in plan.files]
        assert len(set(found)) == len(found)
        assert visible <= set(found)
        assert split or visible == set(found)
        check(plan, top / "out")


@pytest.mark.usefixtures("folder")
def test_symlinks_do_not_lead_out_of_the_output_folder() -> None:
    for name in ("out/sub", "elsewhere", "output"):
        Path(name).mkdir(parents=True)
    Path("out/away").symlink_to("../elsewhere")
    Path("out/within").symlink_to("sub")
    Path("link").symlink_to("out")
    for target in ("out/a.png", "out/sub/a.png", "out/within/a.png", "out/new/deep/a.png", "link/sub/a.png"):
        check_inside(Path(target), Path("out"))
        check_inside(Path(target), Path("link"))
    for target, place in (
        ("out/away/a.png", "elsewhere"),
        ("out/away/new/a.png", "elsewhere/new"),
        ("out/../a.png", "work"),
        ("output/a.png", "output"),
    ):
        with pytest.raises(ImageFileError, match=f"{target} is not written: .* to /.*/{place}, .* outside out$"):
            check_inside(Path(target), Path("out"))


@pytest.mark.parametrize("kind", ["one name", "many folders"])
def test_a_hundred_thousand_files_are_planned(kind: str, monkeypatch: pytest.MonkeyPatch) -> None:
    folders = 1 if kind == "many folders" else 100_000
    given = [f"/no/{number % folders}/{number if folders == 1 else 'a'}.jpg" for number in range(100_000)]
    monkeypatch.setattr(os.path, "realpath", str)  # whose cost is the file system's
    monkeypatch.setattr(Path, "is_dir", lambda path: False)
    plan = plan_files(given, "/no/output")  # a quadratic loop would take minutes
    assert len({file.target for file in plan.files}) == 100_000


def test_planning_does_not_load_torch() -> None:
    code = "import sys, gpuquant.batch.plan; print('torch' in sys.modules, 'numpy' in sys.modules)"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout == "False False\n"


def test_what_cannot_be_read_in_a_folder_is_told(tmp_path: Path) -> None:
    """Broken symlinks and pipes: one of them may have been a photo; without a photo's ending they are counted."""
    folder = tmp_path / "in"
    folder.mkdir()
    for name in ("dangling.jpg", "dangling"):
        (folder / name).symlink_to(tmp_path / "none.jpg")
    (folder / "round.png").symlink_to(folder / "round.png")
    (folder / "folder.png").symlink_to(tmp_path)  # which is not followed
    os.mkfifo(folder / "pipe.jpg")
    job = quantize_files(folder, tmp_path / "out")
    assert job.passed_over == {"": 1}
    assert {outcome.source.name: outcome.error for outcome in job} == {
        "dangling.jpg": "it is a symlink to no file",
        "pipe.jpg": "it is not a regular file",
        "round.png": f"it cannot be read: {os.strerror(errno.ELOOP)}",
    }
