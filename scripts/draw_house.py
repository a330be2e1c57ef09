"""Draw the rooms of the package, layer by layer, with the rooms below that each imports and how many imports that are.

It reads the imports of gpuquant/ and writes nothing but this drawing, to standard output, at once.

Example: python scripts/draw_house.py
"""

from collections import Counter

from parts.arguments import Arguments
from parts.house import LAYER, LAYERS, MODULES, modules_imported_by


def main() -> None:
    """Print a line for each room, the highest layer first."""
    Arguments(__doc__).parse_args()
    arrows: Counter[tuple[str, str]] = Counter()
    for name in MODULES:
        for imported in modules_imported_by(name):
            room, below = name.split(".")[0], imported.split(".")[0]
            if room != below:
                arrows[room, below] += 1
    width = max(map(len, LAYER))
    for number in range(len(LAYERS) - 1, -1, -1):
        for room in LAYERS[number]:
            n_modules = sum(name.split(".")[0] == room for name in MODULES)
            below = sorted((one for one in LAYER if arrows[room, one]), key=lambda one: (-LAYER[one], one))
            targets = ", ".join(f"{one} {arrows[room, one]}" for one in below)
            print(f"{number:2}  {room:<{width}}  {n_modules:3} modules{' -> ' if targets else ''}{targets}")
    print(f"{len(arrows)} arrows between {len(LAYER)} rooms, {sum(arrows.values())} imports")


if __name__ == "__main__":
    main()
