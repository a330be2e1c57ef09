"""Results with a suffix, which may lie beside their photos: neither takes the place of the other."""

from pathlib import Path

import numpy as np
import pytest
from commands import by_name, check, touch
from PIL import Image

import gpuquant
from gpuquant import quantize_files
from gpuquant.batch.plan import plan_files
from gpuquant.errors import ArgumentError

SUFFIX = "-16-colors"


@pytest.fixture
def folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder that relative paths start from, with three photos."""
    monkeypatch.chdir(tmp_path)
    Path("photos/sub").mkdir(parents=True)
    for place in ("a.jpg", "b.png", "sub/c.png"):
        Image.fromarray(np.arange(48, dtype=np.uint8).reshape(4, 4, 3)).save(f"photos/{place}")
    return tmp_path


def names(folder: str) -> set[str]:
    return {str(path.relative_to(folder)) for path in Path(folder).rglob("*") if path.is_file()}


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("output", [None, "photos", "./photos/../photos"])
def test_results_lie_beside_their_photos(output: str | None) -> None:
    before = {name: (Path("photos") / name).read_bytes() for name in names("photos")}
    found = by_name(quantize_files("photos", output, 2, suffix=SUFFIX, recursive=True))
    assert {outcome.status for outcome in found.values()} == {"written"}
    results = {"a-16-colors.png", "b-16-colors.png", "sub/c-16-colors.png"}
    assert names("photos") == {*before, *results}
    assert all((Path("photos") / name).read_bytes() == content for name, content in before.items())
    again = by_name(quantize_files("photos", output, 2, suffix=SUFFIX, recursive=True, existing="skip"))
    assert {name: outcome.status for name, outcome in again.items()} == dict.fromkeys(found, "skipped")
    list(quantize_files("photos", output, 3, suffix="-3-colors", recursive=True))  # results are no photos
    list(quantize_files("photos", output, 3, suffix="-3-colors", recursive=True, existing="update"))
    more = {name.replace("16", "3") for name in results}
    assert names("photos") == {*before, *results, *more}


@pytest.mark.usefixtures("folder")
def test_results_in_another_folder() -> None:
    list(quantize_files("photos", "out", 2, suffix=SUFFIX, recursive=True, image_format="gif"))
    assert names("out") == {"a-16-colors.gif", "b-16-colors.gif", "sub/c-16-colors.gif"}
    assert len(names("photos")) == 3


@pytest.mark.usefixtures("folder")
def test_names_that_meet() -> None:
    touch(
        "in/a.jpg", "in/a.png", "in/A.tif", "in/a.jpg-2.png", "in/a-16-colors.png", "in/b-16-colors.jpg", "in/c/a.jpg"
    )
    for output, start in ((None, "in"), ("in", "in"), ("out", "out")):
        plan = plan_files(["in"], output, recursive=True, suffix=SUFFIX)
        found = {str(file.source): str(file.target) for file in plan.files}
        assert found == {
            "in/a.jpg": f"{start}/a.jpg-16-colors.png",
            "in/a.png": f"{start}/a.png-16-colors.png",
            "in/A.tif": f"{start}/A.tif-16-colors.png",
            "in/a.jpg-2.png": f"{start}/a.jpg-2-16-colors.png",
            "in/b-16-colors.jpg": f"{start}/b-16-colors-16-colors.png",  # nothing that we write
            "in/c/a.jpg": f"{start}/c/a-16-colors.png",
        }
        check(plan, Path(start), "-16-colors.png")
    assert [str(file.target) for file in plan_files(["in/a.jpg", "in/c/a.jpg", "photos"], None, suffix="_").files] == [
        "in/a_.png",
        "in/c/a_.png",
        "photos/a_.png",
        "photos/b_.png",
    ]
    link = Path("link")
    link.symlink_to("in")
    plan = plan_files(["in/a.jpg", "link/a.png"], None, suffix="_")  # in one folder, whatever its name
    assert [str(file.target) for file in plan.files] == ["in/a.jpg_.png", "link/a.png_.png"]


@pytest.mark.usefixtures("folder")
def test_a_folder_of_results_says_so() -> None:
    list(quantize_files("photos", "out", 2))
    with pytest.raises(
        ArgumentError, match=r"in out; 2 passed over: 2 results of gpuquant; results .* named as files$"
    ):
        quantize_files("out", suffix=SUFFIX)
    assert [outcome.status for outcome in quantize_files("out/a.png", suffix=SUFFIX)] == ["written"]


@pytest.mark.usefixtures("folder")
def test_photos_that_end_as_results_do() -> None:
    """A camera's numbers are no suffix of ours, unless there is the photo that such a result would have."""
    for number in range(3):
        Image.open("photos/a.jpg").save(f"photos/IMG_{number}.png")
    job = quantize_files("photos", suffix="_1")
    assert [file.source.name for file in job.files] == ["IMG_0.png", "IMG_1.png", "IMG_2.png", "a.jpg", "b.png"]
    assert job.results_passed_over == 0
    touch("photos/IMG.webp", "photos/a.jpg_1.tif")
    with pytest.warns(UserWarning, match="1 of 1 results do not say"):
        job = quantize_files("photos", "photos", suffix="_1", existing="skip")
    assert [file.source.name for file in job.files] == ["IMG.webp", "IMG_0.png", "IMG_2.png", "a.jpg", "b.png"]
    assert job.results_passed_over == 2


@pytest.mark.usefixtures("folder")
@pytest.mark.parametrize("existing", ["overwrite", "update"])
def test_a_photo_with_the_name_of_a_result_is_not_overwritten(existing: str) -> None:
    Path("photos/b.png").rename("photos/a-2.png")
    before = Path("photos/a-2.png").read_bytes()
    with pytest.raises(
        ArgumentError, match=r"photos/a-2\.png is not overwritten: .* may be a photo; choose another suffix"
    ):
        quantize_files("photos", suffix="-2", existing=existing)
    with pytest.raises(ArgumentError, match=r"a-2\.png is one of the photos"):
        quantize_files(["photos", "photos/a-2.png"], suffix="-2", existing=existing)
    assert Path("photos/a-2.png").read_bytes() == before


@pytest.mark.usefixtures("folder")
def test_a_place_is_needed() -> None:
    with pytest.raises(ArgumentError, match=r"output \(--output\), or give a suffix \(--suffix\)"):
        quantize_files("photos")
    with pytest.raises(ArgumentError, match=r"a shared palette is also written; name the folder .*--output"):
        quantize_files("photos", suffix=SUFFIX, shared_palette=True)
    outcomes = list(quantize_files("photos", "photos", 2, suffix=SUFFIX, shared_palette=True))
    assert len(outcomes) == 2
    assert len(gpuquant.read_palette("photos/palette.hex")) == 2
    missing = list(quantize_files("photos/none/x.jpg", suffix=SUFFIX))
    assert [(outcome.status, outcome.error) for outcome in missing] == [("failed", "no such file")]
    assert not Path("photos/none").exists()
