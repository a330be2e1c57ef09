"""A batch from and to a server of S3 on this machine, beside the same batch from and to disk.

Results whose bytes are not those on disk fail.

Run: pytest benchmarks/bench_remote.py
"""

import os
import sys
from pathlib import Path

import pytest
from bench_batch import JOBS, N_COLORS, batch, folder_of
from conftest import InTurn, Report

import gpuquant

sys.path.append(str(Path(__file__).parents[1] / "tests"))

TIMES, ROUNDS = 8, 3  # 40 photos


def test_time_of_a_batch_at_urls(report: Report, in_turn: InTurn, tmp_path: Path) -> None:
    """The server has a core of the same machine for itself while it answers."""
    pytest.importorskip("moto.server")
    boto3 = pytest.importorskip("boto3")
    from s3_server import environment, s3_server, set_in

    photos = sorted(folder_of(tmp_path, TIMES).iterdir())
    with s3_server() as address, set_in(os.environ, environment(address)):
        bucket = boto3.resource("s3").Bucket("photos")
        bucket.create()
        for photo in photos:
            bucket.upload_file(str(photo), f"in/{photo.name}")

        def from_and_to_s3() -> None:
            bucket.objects.filter(Prefix="out/").delete()
            outcomes = list(gpuquant.quantize_files("s3://photos/in/", "s3://photos/out", N_COLORS, jobs=JOBS))
            assert [outcome.error for outcome in outcomes] == [None] * len(photos)

        def on_disk() -> None:
            for path in (tmp_path / "out").glob("*"):
                path.unlink()
            batch(photos, tmp_path / "out", N_COLORS, JOBS)

        seconds, _ = in_turn({"s3": from_and_to_s3, "disk": on_disk}, ROUNDS)
        for photo in photos:
            name = f"{photo.stem}.png"
            there = bucket.Object(f"out/{name}").get()["Body"].read()
            assert there == (tmp_path / "out" / name).read_bytes(), name
    what = f"{len(photos)} photos: time from and to S3 / from and to disk"
    report(what, seconds["s3"] / seconds["disk"], 1.5, 1.2, f"{seconds['s3']:.1f} s, on disk {seconds['disk']:.1f} s")
