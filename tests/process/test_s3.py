"""A real server of S3 as a process on this machine: photos read from it, results written to it, and its faults."""

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
from commands import by_name, photos_on, process
from PIL import Image
from s3_server import DENIED, SLOW_DOWN, Faults, environment, s3_server, set_in, with_faults

from gpuquant import quantize, quantize_file, quantize_files
from gpuquant.errors import ImageFileError
from gpuquant.locations import place_of
from gpuquant.report.folder import PAGE

pytestmark = pytest.mark.slow
NAMES = ("a.jpg", "b.png", "sub/ä 1.jpg", "sub/deep/c.jpg")
SECRET = environment("")["AWS_SECRET_ACCESS_KEY"]


@pytest.fixture(scope="module")
def server() -> Iterator[Faults]:
    import s3fs

    with s3_server() as address, with_faults(address) as faults, set_in(os.environ, environment(faults.address)):
        yield faults
        s3fs.S3FileSystem.clear_instance_cache()


@pytest.fixture
def bucket(server: Faults, request: pytest.FixtureRequest) -> Iterator[Any]:
    """An empty bucket of boto3's, by which tests see what is there."""
    import boto3

    name = f"bucket-{abs(hash(request.node.nodeid))}"
    found = boto3.resource("s3").Bucket(name)
    found.create()
    server.asked.clear()
    yield found
    server.fault = None


@pytest.fixture
def photos(bucket: Any, tmp_path: Path) -> Path:
    """Photos on disk, and the same in the bucket, below in/."""
    folder = tmp_path / "in"
    for number, name in enumerate(NAMES):
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        pixels = np.random.default_rng(number).integers(0, 256, (60, 80, 3)).astype(np.uint8)
        Image.fromarray(pixels).save(folder / name)
        bucket.put_object(Key=f"in/{name}", Body=(folder / name).read_bytes())
    return folder


def below(bucket: Any, prefix: str) -> dict[str, bytes]:
    return {one.key.removeprefix(prefix): one.get()["Body"].read() for one in bucket.objects.filter(Prefix=prefix)}


def expected(photos: Path, tmp_path: Path, **settings: Any) -> dict[str, bytes]:
    """Results on disk."""
    list(quantize_files(photos, tmp_path / "expected", 8, recursive=True, **settings))
    return {
        str(path.relative_to(tmp_path / "expected")): path.read_bytes()
        for path in (tmp_path / "expected").rglob("*")
        if path.is_file()
    }


def asked(server: Faults, method: str, part: str) -> int:
    return sum(one == method and part in path for one, path in server.asked)


@pytest.mark.parametrize("shared", [False, True])
def test_a_tree_is_read_and_written(server: Faults, bucket: Any, photos: Path, tmp_path: Path, shared: bool) -> None:
    local = expected(photos, tmp_path, shared_palette=shared)
    for key in ("in/", "in/../up.jpg", "in//etc/x.jpg", "in/.hidden.jpg"):
        bucket.put_object(Key=key, Body=b"")
    url = f"s3://{bucket.name}"
    batch = quantize_files(f"{url}/in", f"{url}/out", 8, recursive=True, shared_palette=shared)
    assert batch.passed_over == {".jpg": 2}
    assert [outcome.error for outcome in batch] == [None] * len(NAMES)
    assert below(bucket, "out/") == local
    server.asked.clear()
    again = quantize_files(f"{url}/in", f"{url}/out", 8, recursive=True, shared_palette=shared, existing="skip")
    assert [outcome.status for outcome in again] == ["skipped"] * len(NAMES)
    assert asked(server, "PUT", "out/") == 1  # the probe
    assert asked(server, "GET", "in/a.jpg") == 0


def test_names_with_what_begins_a_query_or_fragment(bucket: Any, photos: Path, tmp_path: Path) -> None:
    (tmp_path / "odd").mkdir()
    for name in ("photo #1.jpg", "photo #2.jpg", "why?.jpg"):
        (tmp_path / "odd" / name).write_bytes((photos / "a.jpg").read_bytes())
        bucket.upload_file(str(tmp_path / "odd" / name), f"odd #1/{name}")
    local, url = expected(tmp_path / "odd", tmp_path), f"s3://{bucket.name}"
    for output in ("out#1", "out?"):
        assert [one.error for one in quantize_files(f"{url}/odd #1/", f"{url}/{output}/", 8)] == [None] * 3
        assert below(bucket, f"{output}/") == local
    bucket.Versioning().enable()
    first, _ = (
        bucket.meta.client.put_object(Bucket=bucket.name, Key="versions/a #1.jpg", Body=body)["VersionId"]
        for body in ((photos / "a.jpg").read_bytes(), b"not a photo")
    )
    quantize_file(f"{url}/versions/a #1.jpg?versionId={first}", f"{url}/old #1.png", 8)
    assert below(bucket, "old #1.png") == {"": local["photo #1.png"]}


def test_a_report(server: Faults, bucket: Any, photos: Path, tmp_path: Path) -> None:
    """The same page and thumbnails as on disk, which a browser is told to show; and again from what is there."""
    local, url = expected(photos, tmp_path, report=True), f"s3://{bucket.name}"
    list(quantize_files(f"{url}/in", f"{url}/out", 8, recursive=True, report=True))
    found = below(bucket, "out/")
    assert set(found) == set(local)
    for name in found:
        kind = "text/html" if name == PAGE else f"{'application' if name.endswith('.json') else 'image'}/"
        assert bucket.Object(f"out/{name}").content_type.startswith(kind)
        assert name.endswith((PAGE, ".json")) or found[name] == local[name]
    shown = [photos_on(files[PAGE]) for files in (found, local)]
    for photo in (*shown[0], *shown[1]):
        assert photo.pop("source") == f"../in/{quote(photo['name'])}"
        del photo["seconds"]
    assert shown[0] == shown[1]
    server.asked.clear()
    code, out, error = process("report", f"{url}/out")
    assert (code, out, error) == (0, f"wrote {url}/out/report.html: {len(NAMES)} photos\n", "")
    assert below(bucket, "out/")[PAGE] == found[PAGE]
    assert asked(server, "GET", "in/") == 0


def test_a_server_that_is_busy_for_a_while(server: Faults, bucket: Any, photos: Path, tmp_path: Path) -> None:
    left = {("GET", "in/a.jpg"): 2, ("PUT", "out/a.png"): 2}

    def busy(method: str, path: str) -> tuple[int, bytes] | None:
        for (of, part), number in left.items():
            if method == of and part in path and number:
                left[of, part] -= 1
                return SLOW_DOWN
        return None

    server.fault = busy
    local = expected(photos, tmp_path)
    url = f"s3://{bucket.name}"
    assert {one.error for one in quantize_files(f"{url}/in/", f"{url}/out", 8, recursive=True)} == {None}
    assert set(left.values()) == {0}
    server.fault = None
    assert below(bucket, "out/") == local


def test_a_server_that_stays_busy_costs_one_file(server: Faults, bucket: Any, photos: Path) -> None:
    server.fault = lambda method, path: SLOW_DOWN if method == "GET" and "in/a.jpg" in path else None
    url = f"s3://{bucket.name}"
    outcomes = by_name(quantize_files(f"{url}/in", f"{url}/out", 8))
    assert outcomes["b.png"].status == "written"
    assert outcomes["a.jpg"].status == "failed"
    assert str(outcomes["a.jpg"].error).startswith("it cannot be read: Please reduce your request rate.")
    assert str(outcomes["a.jpg"].error).endswith("(tried several times)")


def test_a_photo_that_vanishes(bucket: Any, photos: Path) -> None:
    url = f"s3://{bucket.name}"
    batch = quantize_files(f"{url}/in", f"{url}/out", 8)
    bucket.Object("in/a.jpg").delete()
    outcomes = by_name(batch)
    assert (outcomes["a.jpg"].error, outcomes["b.png"].error) == ("no such file", None)


def test_a_denied_write(server: Faults, bucket: Any, photos: Path) -> None:
    url = f"s3://{bucket.name}"
    server.fault = lambda method, path: DENIED if method == "PUT" else None
    with pytest.raises(ImageFileError, match=rf"^{url}/out cannot be written: access is denied \(Access Denied"):
        list(quantize_files(f"{url}/in", f"{url}/out", 8))
    assert asked(server, "GET", "in/a.jpg") == 0
    code, _, error = process("batch", f"{url}/in/", "-o", f"{url}/out", "-k", 8)
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith(f"gpuquant: {url}/out cannot be written: access is denied")
    code, _, error = process("quantize", photos / "a.jpg", f"{url}/a.png")
    assert (code, error.count("\n")) == (1, 1)
    assert SECRET not in error
    server.fault = None
    with pytest.raises(ImageFileError, match="s3://no-such-bucket/out cannot be written: The specified bucket does"):
        list(quantize_files(photos, "s3://no-such-bucket/out", 8))


@pytest.mark.parametrize("sent", [signal.SIGINT, signal.SIGKILL], ids=["interrupt", "kill"])
def test_a_batch_that_is_stopped_goes_on(
    server: Faults, bucket: Any, photos: Path, tmp_path: Path, sent: signal.Signals
) -> None:
    """It is stopped while a result is on its way: that is there as a whole, or not at all."""
    local, url = expected(photos, tmp_path), f"s3://{bucket.name}"
    on_its_way, go_on = threading.Event(), threading.Event()

    def wait(method: str, path: str) -> None:
        if method == "PUT" and path.endswith(".png") and asked(server, "PUT", ".png") == 2:
            on_its_way.set()
            go_on.wait(30)

    server.fault = wait
    command = ["batch", f"{url}/in", "-o", f"{url}/out", "-k", "8", "-r", "-j", "1"]
    started = subprocess.Popen([sys.executable, "-m", "gpuquant", *command], stderr=subprocess.PIPE, text=True)
    assert on_its_way.wait(60)
    started.send_signal(sent)
    if sent == signal.SIGINT:
        time.sleep(0.5)
        go_on.set()
    _, errors = started.communicate(timeout=60)
    go_on.set()
    assert started.returncode == (130 if sent == signal.SIGINT else -sent), errors
    time.sleep(0.5)  # what the server was given it still keeps
    server.fault = None
    found = below(bucket, "out/")
    assert 1 <= len(found) <= 2
    assert found.items() <= local.items()
    code, out, error = process(*command, "--skip-existing")
    assert (code, error) == (0, "")
    assert f"{len(local) - len(found)} written, {len(found)} skipped" in out
    assert below(bucket, "out/") == local


def test_a_large_photo_goes_through_a_temporary_file(bucket: Any, tmp_path: Path) -> None:
    pixels = np.random.default_rng(0).integers(0, 256, (3000, 4000, 3)).astype(np.uint8) // 16 * 16
    np.save(tmp_path / "a.npy", pixels)  # 36 MB, of which one piece at a time is held
    bucket.upload_file(str(tmp_path / "a.npy"), "a.npy")
    url = f"s3://{bucket.name}/a"
    there = quantize_file(f"{url}.npy", f"{url}.tif", 256, memory="300MB")
    local = quantize_file(tmp_path / "a.npy", tmp_path / "a.tif", 256, memory="300MB")
    assert (there.mse, there.palette.hex) == (local.mse, local.palette.hex)
    assert below(bucket, "a.tif") == {"": (tmp_path / "a.tif").read_bytes()}
    assert quantize(f"{url}.npy", 2).labels.shape == (3000, 4000)


def test_keys_by_the_thousand(server: Faults, bucket: Any) -> None:
    """A thousand of them come with each request."""
    place = place_of(f"s3://{bucket.name}")
    system, _ = place.system()  # type: ignore[union-attr]
    system.pipe({f"{bucket.name}/in/{number % 50}/{number}.jpg": b"x" for number in range(2500)})
    server.asked.clear()
    batch = quantize_files(f"s3://{bucket.name}/in/", f"s3://{bucket.name}/out", 8, recursive=True)
    assert len(batch) == 2500
    assert asked(server, "GET", "list-type=2") <= 5
    assert len(server.asked) <= 6


def test_wrong_keys_are_told_in_one_line(bucket: Any, photos: Path) -> None:
    with set_in(os.environ, {"AWS_ENDPOINT_URL": "http://127.0.0.1:9"}):  # where nobody answers
        code, _, error = process("quantize", f"s3://{bucket.name}/in/a.jpg", photos / "out.png")
    assert (code, error.count("\n")) == (1, 1)
    assert error.startswith(f"gpuquant: s3://{bucket.name}/in/a.jpg cannot be read: ")
    assert SECRET not in error
