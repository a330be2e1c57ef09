"""Estimate how long `quantize` takes on an H200, by what it asks of a device that is played; in two minutes.

No device is needed: Triton's JIT binds kernels for one, and what they compute is computed on the CPU (tests/played).
Counted are operations of torch, views, launches, and waits of the host. Their times are assumed, those of kernels
worked out from instructions and bytes (tests/played/costs.py): all of it may be off by 40 % either way. The photo has
13.7 megapixels and 1.5 million colors, and is on the device already. Nothing is written.

Example: .venv/bin/python scripts/estimate_gpu.py --colors 8 256
"""

import sys
from pathlib import Path
from typing import Any

from parts.arguments import Arguments, needing

COLUMNS = ("operation", "view", "launch", "wait", "ms")


def main() -> None:
    parser = Arguments(__doc__)
    parser.add_argument("--colors", type=int, nargs="+", default=[8, 256], metavar="K", help="8 and 256 if not given")
    parser.add_argument("--chip", type=int, default=90, help="that kernels are bound for (%(default)s)")
    parser.add_argument("--small", action="store_true", help="a photo of 0.07 megapixels")
    given = parser.parse_args()
    sys.path.insert(0, str(Path(__file__).parents[1] / "tests"))
    with needing("dev"):
        import play
        from gpu.setting import photo
    play.install(given.chip, compiles=False)
    image = play.china() if given.small else photo().numpy()
    for n_colors in given.colors:
        row = play.quantized(image, n_colors)
        height, width = image.shape[:2]
        print(f"quantize, {height * width / 1e6:.1f} megapixels, {row['n_photo_colors']} colors, K = {n_colors}")
        print_table(row)


def print_table(row: dict[str, Any]) -> None:
    print("\n".join([line("stage", "operations", "views", "launches", "waits", "ms"), line(*["---"] * 6)]))
    total = dict.fromkeys(COLUMNS, 0.0)
    for stage, counts in row["stages"].items():
        print(line(stage, *(counts[name] for name in COLUMNS[:-1]), f"{counts['ms']:.2f}"))
        total = {name: number + counts[name] for name, number in total.items()}
    print(line("all", *(int(total[name]) for name in COLUMNS[:-1]), f"{row['ms']:.1f}, 40 % more or less"))
    if row["host_ms"]:
        print(f"{row['host_ms']:.1f} ms of it is breathing k-means on this CPU, for which a device waits")
    n_direct, same = row["direct"], "as the CPU's" if row["same"] else "NOT those of the CPU"
    print(f"{n_direct} of the launches go past the JIT's Python; the results are {same}\n")


def line(*cells: object) -> str:
    return "| " + " | ".join(map(str, cells)) + " |"


if __name__ == "__main__":
    main()
