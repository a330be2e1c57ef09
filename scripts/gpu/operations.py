"""Times of the operations beside their floors. Each one's first call is the first in this process."""

from collections.abc import Callable, Iterator
from functools import partial
from itertools import product

import numpy as np
import torch
from gpu.clock import Floors, timed
from gpu.setting import DEVICE, KINDS, ROUNDS, SIZE, SMALL, Row, each_apart, photo
from torch import Tensor

import gpuquant
from gpuquant import ops
from gpuquant.colors.codes import N_CODES

N_PIXELS = SIZE[0] * SIZE[1]
INPUTS = 3  # in turn, so that the device's cache holds none of them
CLUSTERS = (16, 256)


def time_operations() -> Iterator[Row]:
    """Count pixels of four kinds, look them up, quantize, and take Lloyd steps."""
    floors = Floors()
    yield from each_apart(cases_of(floors))
    yield {"what": "this device at its best", **floors.row()}


def cases_of(floors: Floors) -> dict[str, Callable[[], Row]]:
    cases: dict[str, Callable[[], Row]] = {}
    for kind in KINDS:
        cases[f"count colors, {kind}"] = partial(_count, kind, floors)
    cases["look pixels up"] = partial(_look_up, floors)
    cases["keys of colors"] = partial(_keys, floors)
    cases["colors of keys"] = partial(_colors, floors)
    cases["choose entries by a mask"] = partial(_choose, floors)
    cases["KMeans on levels, K = 16"] = _estimate
    for n_colors in (8, 64, 256):
        cases[f"quantize, photo on the device, K = {n_colors}"] = partial(_quantize, n_colors, floors)
    for kind in ("one color", "two colors", "noise"):
        cases[f"quantize, {kind} on the device, K = 8"] = partial(_quantize, 8, floors, kind)
    for pinned, n_colors in product((True, False), (8, 64, 256)):
        where = "pinned" if pinned else "pageable"
        cases[f"quantize, photo from {where} memory and back, K = {n_colors}"] = partial(
            _from_host, pinned, n_colors, floors
        )
    for n_clusters in CLUSTERS:
        cases[f"Lloyd step on pixels, float32, K = {n_clusters}"] = partial(_step, n_clusters, floors)
    return cases


def on_device(kind: str = "photo") -> list[Tensor]:
    return [KINDS[kind](seed=seed).to(DEVICE) for seed in range(INPUTS)]


def _count(kind: str, floors: Floors) -> Row:
    flat = [image.view(-1, 3) for image in on_device(kind)]
    return timed(ops.count_colors, flat, floor=floors.milliseconds(n_bytes=3 * N_PIXELS))


def _look_up(floors: Floors) -> Row:
    flat = [image.view(-1, 3) for image in on_device()]
    keys = torch.arange(N_CODES, dtype=torch.int32, device=DEVICE)
    with ops.lookup_table(ops.colors_from_keys(keys), keys.to(torch.uint8)) as table:
        look_up = partial(ops.apply_lookup, table=table)
        return timed(look_up, flat, floor=floors.milliseconds(n_bytes=4 * N_PIXELS))


def _keys(floors: Floors) -> Row:
    flat = [image.view(-1, 3) for image in on_device()]
    return timed(ops.keys_from_colors, flat, floor=floors.milliseconds(n_bytes=7 * N_PIXELS))


def _colors(floors: Floors) -> Row:
    keys = [ops.keys_from_colors(image.view(-1, 3)) for image in on_device()]
    return timed(ops.colors_from_keys, keys, floor=floors.milliseconds(n_bytes=7 * N_PIXELS))


def _choose(floors: Floors) -> Row:
    """Among 64 mixtures of 8 entries, of which a mask of 128 x 128 chooses."""
    palette = photo().view(-1, 3)[:8].to(DEVICE)
    random = np.random.RandomState(0)
    limits = np.sort(random.randint(1 << 18, 3 << 18, (64, 3)), axis=1) << np.array([0, 21, 42])
    entries = random.randint(0, 8, (64, 4)) << np.array([0, 16, 32, 48])
    forms = np.stack([*np.zeros((3, 64), np.int64), limits.sum(axis=1), entries.sum(axis=1)], axis=1)
    mask = random.randint(0, 1 << 20, (128, 128)) | 1 << 20
    mixtures, thresholds = (torch.from_numpy(one).to(DEVICE) for one in (forms, mask * (1 + (1 << 21) + (1 << 42))))

    def choose(image: Tensor) -> None:
        numbers = image[:, :, 0] & 63
        labels = torch.empty_like(numbers)
        ops.choose_entries(0, image, numbers, mixtures, palette, thresholds, labels)

    return timed(choose, on_device(), floor=floors.milliseconds(n_bytes=5 * N_PIXELS))


def _estimate() -> Row:
    """The estimator on pixels of a smaller photo as floating-point samples, drawn and labeled one by one."""
    samples = [(photo(SMALL, seed).view(-1, 3) / 255).to(DEVICE) for seed in range(INPUTS)]
    model = gpuquant.KMeans(16, random_state=0, max_iter=10)
    return timed(model.fit, samples, floor=None, rounds=min(5, ROUNDS))


def _quantize(n_colors: int, floors: Floors, kind: str = "photo") -> Row:
    quantize = partial(gpuquant.quantize, n_colors=n_colors)
    # pixels are read twice, and labels written
    return timed(quantize, on_device(kind), floor=floors.milliseconds(n_bytes=7 * N_PIXELS))


def _from_host(pinned: bool, n_colors: int, floors: Floors) -> Row:
    photos = [photo(seed=seed) for seed in range(INPUTS)]
    if pinned and DEVICE.type == "cuda":
        photos = [image.pin_memory() for image in photos]
    quantize = partial(gpuquant.quantize, n_colors=n_colors, device=DEVICE)
    return timed(quantize, photos, floor=floors.milliseconds(up=3 * N_PIXELS, down=N_PIXELS))


class LloydStep:
    """One Lloyd step on the pixels of a photo as they are."""

    def __init__(self, image: Tensor, n_clusters: int) -> None:
        self.points = image.view(1, -1, 3).float()  # [1, N, 3]
        weights = torch.ones(self.points.shape[:2], dtype=torch.float64, device=image.device)
        self.centers = self.points[:, :n_clusters].contiguous()  # [1, K, 3]
        self._state = ops.DenseLloyd(ops.DensePoints(self.points, weights, None), n_clusters)

    def run(self) -> None:
        self._state.step(self._state.enter(self.centers), [0])


def _step(n_clusters: int, floors: Floors) -> Row:
    steps = [LloydStep(image, n_clusters) for image in on_device()]
    # six instructions for every pair, of which a multiplication and addition is one; labels are read and written
    floor = floors.milliseconds(n_bytes=28 * N_PIXELS, n_operations=2 * 6 * N_PIXELS * n_clusters)
    return timed(LloydStep.run, steps, floor=floor)
