"""Read mutated photos and palettes for a minute: nothing but errors of gpuquant's may come of it.

A file that breaks this, takes over half a minute or (on Linux) two gigabytes is left in the current folder, and named.

Example: .venv/bin/python scripts/fuzz.py 600 7
"""

import io
import random
import signal
import sys
import tempfile
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path

if __name__ == "__main__":  # before the imports that take long, or may fail
    from parts.arguments import Arguments

    parser = Arguments(__doc__)
    parser.add_argument("seconds", metavar="SECONDS", nargs="?", type=float, default=60, help="how long (60)")
    parser.add_argument("seed", metavar="SEED", nargs="?", type=int, default=0, help="of the mutations (0)")
    given = parser.parse_args()

import numpy as np
from PIL import Image, ImageCms

from gpuquant import GpuquantError, Palette, read_palette, write_palette
from gpuquant.images.reading import read_photo

MOST_PIXELS = 1_000_000  # of a file that is decoded: a changed header may say any size
MOST_SECONDS, MOST_BYTES = 30, 2 << 30  # for one file
PALETTES = (".hex", ".gpl", ".ase", ".act", ".txt", ".css", ".json", ".png")
PHOTOS = {".png": "PNG", ".jpg": "JPEG", ".gif": "GIF", ".tif": "TIFF", ".webp": "WEBP", ".bmp": "BMP", ".ppm": "PPM"}


def photos() -> dict[str, bytes]:
    """Small photos of several formats and modes, by a name with their ending."""
    levels = np.random.RandomState(0).randint(0, 256, (24, 31, 4)).astype(np.uint8)
    profile = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB")).tobytes()
    profile = profile.replace("sRGB".encode("utf-16-be"), "mine".encode("utf-16-be"))  # so that it is applied
    found: dict[str, bytes] = {}
    for ending, form in PHOTOS.items():
        for mode in ("RGB", "RGBA", "L", "P", "CMYK", "I;16"):
            picture = Image.fromarray(levels)
            if (mode, ending) == ("I;16", ".ppm"):  # which Pillow reads in 32 bits: not supported
                continue
            if mode == "I;16":
                picture = Image.fromarray(levels.view(np.uint16)[..., 0].copy())
            elif mode != "RGBA":
                picture = picture.convert("RGB").convert(mode)
            file = io.BytesIO()
            try:
                picture.save(file, form, icc_profile=profile)
            except (OSError, KeyError, ValueError):  # a mode that the format does not have
                continue
            found[f"{mode.replace(';', '')}{ending}"] = file.getvalue()
    return found


def palettes() -> dict[str, bytes]:
    """A palette in each format, by a name with its ending."""
    rows = np.random.RandomState(0).randint(0, 256, (20, 3)).astype(np.uint8)
    found: dict[str, bytes] = {}
    with tempfile.TemporaryDirectory() as folder:
        for ending in PALETTES:
            path = Path(folder) / f"palette{ending}"
            write_palette(Palette(rows), path)
            found[path.name] = path.read_bytes()
    return found


def mutated(data: bytes, draws: random.Random) -> bytes:
    """Bytes changed, doubled, left out, moved or cut off, a few times."""
    found = bytearray(data)
    for _ in range(draws.choice((1, 1, 2, 4, 16))):
        place, length = draws.randrange(len(found) + 1), draws.choice((1, 1, 2, 4, 64))
        change = draws.randrange(6)
        if change == 0:
            found[place : place + length] = draws.randbytes(length)
        elif change == 1:
            found[place : place + length] = draws.choice((b"\0", b"\xff", b"\x7f", b"-", b"9")) * length
        elif change == 2:
            del found[place : place + length]
        elif change == 3:
            found[place:place] = found[place : place + length] * draws.choice((1, 2, 300))
        elif change == 4 and place < len(found):
            found[place] ^= 1 << draws.randrange(8)
        else:
            del found[place:]
        if not found:
            break
    return bytes(found)


def read(path: Path, reader: Callable[[Path], object]) -> None:
    """Read a file, and take no more than an error of ours, of one line, for an answer."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            reader(path)
    except GpuquantError as error:
        if "\n" in str(error):
            raise ValueError(f"an error of several lines: {error}") from error


def cases() -> list[tuple[str, bytes, Callable[[Path], object]]]:
    """Every file to begin with, and what reads it."""

    def read_small(path: Path) -> object:
        return read_photo(path, max_pixels=MOST_PIXELS).in_srgb()

    found = [(name, data, read_small) for name, data in photos().items()]
    return [*found, *((name, data, read_palette) for name, data in palettes().items())]


def mutants(seed: int) -> Iterator[tuple[str, bytes, Callable[[Path], object]]]:
    """Mutants of all files in turn, without an end."""
    draws, every = random.Random(seed), cases()
    while True:
        for name, data, reader in every:
            yield name, mutated(data, draws), reader


def bound() -> None:
    """Limit the memory, and let what takes long raise."""

    def stop(*_: object) -> None:
        raise TimeoutError(f"more than {MOST_SECONDS} s")

    if sys.platform == "linux":
        import resource

        in_use = int(Path("/proc/self/statm").read_text().split()[0]) * resource.getpagesize()
        _, hard = resource.getrlimit(resource.RLIMIT_AS)
        resource.setrlimit(resource.RLIMIT_AS, (in_use + MOST_BYTES, hard))
        signal.signal(signal.SIGALRM, stop)


def main(seconds: float, seed: int) -> None:
    """Read mutants for so long."""
    bound()
    start, n_read, slowest = time.perf_counter(), 0, (0.0, "")
    with tempfile.TemporaryDirectory() as folder:
        for name, data, reader in mutants(seed):
            if time.perf_counter() - start > seconds:
                break
            path = Path(folder) / name
            path.write_bytes(data)
            before = time.perf_counter()
            try:
                if sys.platform == "linux":
                    signal.alarm(MOST_SECONDS)
                read(path, reader)
            except BaseException:
                broken = Path(f"broken-{seed}-{n_read}-{name}")
                broken.write_bytes(data)
                print(f"fuzz: {broken} breaks the reader", file=sys.stderr)
                raise
            n_read += 1
            slowest = max(slowest, (time.perf_counter() - before, name))
    print(f"{n_read} files read, the slowest, {slowest[1]}, in {slowest[0]:.2f} s")


if __name__ == "__main__":
    main(given.seconds, given.seed)
