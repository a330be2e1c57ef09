"""Sentences that say what others are better at, from the stored tables, so that none is forgotten."""

import textwrap
from collections.abc import Callable, Sequence
from itertools import groupby
from typing import NamedTuple

from stored import MAIN_PHOTO, OURS, WIDTH, by_size, figures, measurements, megapixels, tables

from gpuquant.bench.measuring import Measurement

HARDLY = 0.995  # of ours: what is less by less is no gain that one sees
TIME = ": time / scikit-learn's"  # how the names of rows on both estimators end
FEW = 8  # colors for which README compares memory
WHERE = "benchmarks/README.md#where-others-are-faster-or-better"
SMALL = 1  # megapixels, up to which README tells who is faster
DITHERED = ("Floyd-Steinberg", "blue noise")  # how the names of our dithered files end


class Gain(NamedTuple):
    """A place where another is ahead of gpuquant."""

    n_colors: int
    megapixels: str
    share: float  # of gpuquant's figure
    errors: float  # its MSE as a multiple of gpuquant's


class Written(NamedTuple):
    """Figures of the dithered files that a program writes with so many colors."""

    n_colors: str
    flip: float  # the perceived error
    mse: float
    kilobytes: float


def gains(figure: Callable[[Measurement], float | None], photo: str | None = None) -> dict[str, list[Gain]]:
    """By the names of others where their figure is below gpuquant's, on the photo that is made in several sizes."""
    found: dict[str, list[Gain]] = {}
    for n_colors in sorted({one["n_colors"] for one in tables("peers", device="cpu")}):
        for table in by_size(n_colors):
            if photo in (None, table["photo"]):
                add_gains(found, figure, n_colors, measurements(table), OURS)
    return found


def add_gains(
    found: dict[str, list[Gain]],
    figure: Callable[[Measurement], float | None],
    n_colors: int,
    rows: list[Measurement],
    start: str,  # of the name of the row that others are compared with: the first one
) -> None:
    """Add where a table's others are below its first row of that name."""
    rows = [row for row in rows if row.seconds]
    ours = next((row for row in rows if row.name.startswith(start)), None)
    mine = ours and figure(ours)
    if ours is None or not mine:
        return
    for row in rows:
        theirs = figure(row)
        if not row.name.startswith(OURS) and theirs is not None and theirs < HARDLY * mine:
            errors = row.mse / ours.mse if ours.mse else 1
            size = megapixels(rows).removesuffix(".0")
            found.setdefault(called(row.name), []).append(Gain(n_colors, size, theirs / mine, errors))


def median(row: Measurement) -> float:
    return row.median


def memory(row: Measurement) -> float | None:
    return row.peak_megabytes


def called(name: str) -> str:
    """A name that commas may stand around."""
    first, comma, rest = name.partition(", ")
    return f"{first} ({rest})" if comma else name


def faster() -> list[str]:
    """A sentence for each that is faster anywhere."""
    return [
        f"{name} is faster {places(found)}, at {spread([gain.errors for gain in found])} times the MSE."
        for name, found in gains(median).items()
    ]


def lower_error() -> list[str]:
    return [
        f"{name} leaves a lower MSE {places(found)}, by {spread([100 * (1 - gain.share) for gain in found])} %."
        for name, found in gains(lambda row: row.mse).items()
    ]


def from_one_start() -> list[str]:
    """Sentences on k-means from the same start, and on many problems, where others are ahead of ours."""
    lines = []
    for what, figure in (("is faster", median), ("needs less memory", memory)):
        found: dict[str, list[Gain]] = {}
        for table in tables("same start", device="cpu"):
            add_gains(found, figure, table["n_colors"], measurements(table), f"{OURS}.kmeans")
        lines += [
            f"From the same start {name} {what} than {OURS}.kmeans {places(some)}." for name, some in found.items()
        ]
        of_many: dict[str, list[str]] = {}
        for table in tables("many problems", device="cpu"):
            found = {}
            add_gains(found, figure, table["n_colors"], measurements(table), f"{OURS}.kmeans")
            for name in found:
                of_many.setdefault(name, []).append(str(table["n_problems"]))
        lines += [f"{name} {what} for {listed(numbers)} problems." for name, numbers in of_many.items()]
    return lines


def needing_less(n_colors: int) -> dict[str, tuple[int, int]]:
    """How many others need less memory, and of how many, by megapixels."""
    found = {}
    for table in by_size(n_colors):
        rows = [row for row in measurements(table) if row.seconds]
        less: dict[str, list[Gain]] = {}
        add_gains(less, memory, n_colors, rows, OURS)
        n_others = sum(not row.name.startswith(OURS) for row in rows)
        found[megapixels(rows).removesuffix(".0")] = len(less), n_others
    return found


def less_memory() -> list[str]:
    """A sentence for each number of colors on how many need less memory, and one on who does for the main photo."""
    lines = []
    for n_colors in sorted({one["n_colors"] for one in tables("peers", device="cpu")}):
        some = [f"{n} of {of} others at {at}" for at, (n, of) in needing_less(n_colors).items() if n]
        if some:
            lines.append(f"With {n_colors} colors less memory is needed by {listed(some)} megapixels.")
    found = gains(memory, MAIN_PHOTO)
    if found:
        least = {name: min(gain.share for gain in some) for name, some in found.items()}
        shown = [f"{name} ({least[name]:.2g} of gpuquant's)" for name in sorted(least, key=least.__getitem__)]
        lines.append(f"At {next(iter(found.values()))[0].megapixels} megapixels these are {listed(shown)}.")
    return lines


def starts() -> list[str]:
    """A sentence on new processes, where some others start earlier."""
    rows = [
        row for table in tables("peers", photo=MAIN_PHOTO, device="cpu") for row in measurements(table) if row.seconds
    ]
    ours = [round(row.first_seconds, 1) for row in rows if row.name.startswith(OURS)]
    others = [round(row.first_seconds, 1) for row in rows if not row.name.startswith(OURS)]
    if not ours or not others or min(others) >= min(ours):
        return []
    times = f"{spread(ours)} s, and with others {spread(others)} s"
    return [f"In a new process imports and a first small photo take {times}."]


def written() -> dict[str, list[Written]]:
    """The figures of each way of writing dithered files, by its name."""
    found: dict[str, list[Written]] = {}
    for row in figures("looks", "FLIP, "):
        _, _, _, n_colors, name = row["what"].split(", ", 4)
        if name.startswith(OURS) and not name.endswith(DITHERED):
            continue
        mse, kilobytes = row["beside"].removeprefix("MSE ").removesuffix(" KB").split(", ")
        one = Written(n_colors.removeprefix("K = "), float(row["measured"]), float(mse), float(kilobytes))
        found.setdefault(called(name), []).append(one)
    return found


def better_files() -> dict[str, list[str]]:
    """Sentences on dithered files of others, by their names: smaller than our best looking ones, or closer."""
    found = written()
    ours = {name: every for name, every in found.items() if name.startswith(OURS)}
    if not ours:
        return {}
    best = min(ours, key=lambda name: sum(one.flip for one in ours[name]))
    lowest = [min(one.mse for one in at) for at in zip(*ours.values(), strict=True)]
    lines: dict[str, list[str]] = {name: [] for name in found if name not in ours}
    for name, told in lines.items():
        pairs = list(zip(found[name], ours[best], strict=True))
        if small := [pair for pair in pairs if pair[0].kilobytes < HARDLY * pair[1].kilobytes]:
            sizes = spread([theirs.kilobytes / mine.kilobytes for theirs, mine in small])
            errors = spread([theirs.flip / mine.flip for theirs, mine in small])
            where = with_colors([mine.n_colors for _, mine in small])
            told.append(f"{name} writes {sizes} times the bytes of {best} {where}, at {errors} times the FLIP.")
        for way, every in ours.items():
            closer = [
                one.n_colors for one, mine in zip(found[name], every, strict=True) if one.flip < HARDLY * mine.flip
            ]
            if closer:
                told.append(f"{name} has a lower perceived error (FLIP) than {way} {with_colors(closer)}.")
        lower = [one.n_colors for one, least in zip(found[name], lowest, strict=True) if one.mse < HARDLY * least]
        if lower:
            told.append(f"{name} has a lower MSE than all dithered files of gpuquant {with_colors(lower)}.")
    return {name: told for name, told in lines.items() if told}


def faster_fits() -> list[str]:
    """A sentence on the samples on which scikit-learn's KMeans takes less time than ours."""
    found = {
        row["what"].removesuffix(TIME): 1 / float(row["measured"])
        for row in figures("estimator")
        if row["what"].endswith(TIME) and float(row["measured"]) * HARDLY > 1
    }
    some = [f"{what} ({share:.2f} of the time of ours)" for what, share in found.items()]
    return [f"scikit-learn's KMeans is faster on {listed(some)}."] if some else []


def places(found: list[Gain]) -> str:
    """The numbers of colors and of megapixels: "with 8 colors at 1.0 and 13.7 megapixels"."""
    parts = []
    for n_colors, some in groupby(found, key=lambda gain: gain.n_colors):
        sizes = [gain.megapixels for gain in some]
        unit = "megapixel" if sizes == ["1"] else "megapixels"
        parts.append(f"{with_colors([str(n_colors)])} at {listed(sizes)} {unit}")
    return listed(parts)


def with_colors(numbers: Sequence[str]) -> str:
    return f"with {listed(numbers)} colors"


def colors_of(found: list[Gain]) -> list[str]:
    return [str(gain.n_colors) for gain in found]


def listed(words: Sequence[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def spread(numbers: Sequence[float]) -> str:
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"


def bullets(lines: list[str]) -> str:
    wrapped = (textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ") for line in lines)
    return "".join(f"{line}\n" for line in wrapped)


def everything() -> str:
    """All sentences, a bullet each."""
    pixels = [*faster(), *lower_error(), *less_memory(), *starts()]
    files = [line for told in better_files().values() for line in told]
    return bullets([*pixels, *files, *faster_fits(), *from_one_start()])


def in_short() -> str:
    """README's paragraph: who is ahead on the main photo, on smaller ones, in memory, at the start, and in files."""
    lines = [
        f"{name} is faster on it {with_colors(colors_of(found))}, "
        f"at {spread([one.errors for one in found])} times the MSE."
        for name, found in gains(median, MAIN_PHOTO).items()
    ]
    lines += [
        f"{name} leaves an MSE that is lower by {spread([100 * (1 - one.share) for one in found])} % "
        f"{with_colors(colors_of(found))}."
        for name, found in gains(lambda row: row.mse, MAIN_PHOTO).items()
    ]
    small = {name: [one for one in found if float(one.megapixels) <= SMALL] for name, found in gains(median).items()}
    shown = [
        f"{name} (to {max(float(one.megapixels) for one in some):g} MP, "
        f"{spread([one.errors for one in some])} times the MSE)"
        for name, some in small.items()
        if some
    ]
    if shown:
        lines.append(f"Faster on smaller photos are {listed(shown)}.")
    lines += faster_fits()
    if saving := gains(memory, MAIN_PHOTO):
        lines.append(f"Less memory is needed by {listed(sorted(saving, key=str.lower))}.")
    few = [float(at) for at, (n, of) in needing_less(FEW).items() if 2 * n > of]
    if few:
        lines.append(f"Up to {max(few):g} MP most others need less.")
    lines += starts()
    if programs := [name.split(" ")[0] for name in better_files()]:
        lines.append(f"Dithered files of {listed(programs)} can be smaller or closer: [where]({WHERE}).")
    return textwrap.fill(" ".join(lines), WIDTH) + "\n"
