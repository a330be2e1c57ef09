"""Sentences that say what others are better at, from the stored tables, so that none is forgotten."""

import textwrap
from collections.abc import Callable, Iterator
from itertools import groupby

from stored import MAIN_PHOTO, OURS, WIDTH, by_size, figures, measurements, megapixels, tables

from gpuquant.bench.measuring import Measurement

HARDLY = 0.995  # of ours: what is less by less is no gain that one sees
TIME = ": time / scikit-learn's"  # how the names of rows on both estimators end
Gain = tuple[int, str, float, float]  # K, megapixels, the figure as a share of ours, the MSE as a multiple of ours


def pairs(photo: str | None = None) -> Iterator[tuple[int, str, Measurement, Measurement]]:
    """K, megapixels, gpuquant's row and another, of each table of the photo that is made in several sizes."""
    for n_colors in sorted({one["n_colors"] for one in tables("peers", device="cpu")}):
        for found in by_size(n_colors):
            rows = [row for row in measurements(found) if row.seconds]
            ours = next((row for row in rows if row.name == OURS), None)
            if ours is None or photo not in (None, found["photo"]):
                continue
            for row in rows:
                if not row.name.startswith(OURS):
                    yield n_colors, megapixels(rows).removesuffix(".0"), ours, row


def gains(figure: Callable[[Measurement], float | None], photo: str | None = None) -> dict[str, list[Gain]]:
    """By the names of others where their figure is below ours."""
    found: dict[str, list[Gain]] = {}
    for n_colors, size, ours, row in pairs(photo):
        mine, theirs = figure(ours), figure(row)
        if mine and theirs is not None and theirs < HARDLY * mine:
            gain = (n_colors, size, theirs / mine, row.mse / ours.mse if ours.mse else 1)
            found.setdefault(called(row.name), []).append(gain)
    return found


def called(name: str) -> str:
    """A name that commas may stand around."""
    first, comma, rest = name.partition(", ")
    return f"{first} ({rest})" if comma else name


def faster() -> list[str]:
    """A sentence for each that is faster anywhere."""
    lines = []
    for name, found in gains(lambda row: row.median).items():
        errors = spread([error for *_, error in found])
        lines.append(f"{name} is faster {places(found)}, at {errors} times the MSE.")
    return lines


def lower_error() -> list[str]:
    lines = []
    for name, found in gains(lambda row: row.mse).items():
        less = spread([100 * (1 - share) for _, _, share, _ in found])
        lines.append(f"{name} leaves a lower MSE {places(found)}, by {less} %.")
    return lines


def less_memory() -> list[str]:
    """One sentence for all that need less memory for the main photo."""
    found = gains(lambda row: row.peak_megabytes, MAIN_PHOTO)
    if not found:
        return []
    least = {name: min(share for _, _, share, _ in every) for name, every in found.items()}
    names = sorted(least, key=least.__getitem__)
    size = found[names[0]][0][1]
    shown = listed([f"{name} ({least[name]:.2g} of gpuquant's)" if name == names[0] else name for name in names])
    return [f"At {size} megapixels less memory is needed by {shown}."]


def looks() -> dict[str, list[tuple[str, float, float]]]:
    """K, perceived error and kilobytes of each way of writing dithered files, by its name."""
    shown: dict[str, list[tuple[str, float, float]]] = {}
    for row in figures("looks", "FLIP, "):
        _, _, _, n_colors, name = row["what"].split(", ", 4)
        kilobytes = float(row["beside"].split(", ")[1].removesuffix(" KB"))
        shown.setdefault(called(name), []).append((n_colors.removeprefix("K = "), float(row["measured"]), kilobytes))
    return shown


def beside_best_looking() -> Iterator[tuple[str, list[tuple[str, float, float]]]]:
    """By the names of others K, and perceived error and bytes as multiples of those of the best looking one of ours."""
    shown = looks()
    ours = [every for name, every in shown.items() if name.startswith(OURS)]
    best = min(ours, key=lambda found: sum(error for _, error, _ in found), default=[])
    for name, every in shown.items():
        if best and not name.startswith(OURS):
            pairs = zip(every, best, strict=True)
            yield name, [(at, error / least, size / large) for (at, error, size), (_, least, large) in pairs]


def smaller() -> dict[str, list[tuple[str, float, float]]]:
    """The same of those that take fewer bytes, where they do."""
    found = {name: [one for one in every if one[2] < HARDLY] for name, every in beside_best_looking()}
    return {name: some for name, some in found.items() if some}


def smaller_files() -> list[str]:
    """A sentence for each way of writing dithered files that takes fewer bytes than the best looking one of ours."""
    lines = []
    for name, found in smaller().items():
        sizes, errors = spread([size for *_, size in found]), spread([error for _, error, _ in found])
        some = counts([at for at, *_ in found])
        lines.append(f"{name} writes {sizes} times the bytes {some}, at {errors} times the perceived error (FLIP).")
    return lines


def better_looking() -> list[str]:
    """A sentence for each other way of writing dithered files that comes closer than the best looking one of ours."""
    return [
        f"{name} has a lower perceived error (FLIP) {counts(some)}."
        for name, found in beside_best_looking()
        if (some := [at for at, error, _ in found if error < HARDLY])
    ]


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
    for n_colors, some in groupby(found, key=lambda one: one[0]):
        sizes = [size for _, size, *_ in some]
        unit = "megapixel" if sizes == ["1"] else "megapixels"
        parts.append(f"with {n_colors} colors at {listed(sizes)} {unit}")
    return listed(parts)


def listed(words: list[str]) -> str:
    return f"{', '.join(words[:-1])} and {words[-1]}" if len(words) > 1 else words[0]


def spread(numbers: list[float]) -> str:
    low, high = f"{min(numbers):.3g}", f"{max(numbers):.3g}"
    return low if low == high else f"{low} to {high}"


def bullets(lines: list[str]) -> str:
    wrapped = (textwrap.fill(line, WIDTH, initial_indent="- ", subsequent_indent="  ") for line in lines)
    return "".join(f"{line}\n" for line in wrapped)


def everything() -> str:
    """All sentences, a bullet each."""
    files = [*smaller_files(), *better_looking()]
    return bullets([*faster(), *lower_error(), *less_memory(), *files, *faster_fits()])


def in_short() -> str:
    """README's paragraph: who is faster on the main photo, who leaves a lower error there, and the rest."""
    fast = gains(lambda row: row.median, MAIN_PHOTO)
    good = gains(lambda row: row.mse, MAIN_PHOTO)
    small = {
        name for name, found in gains(lambda row: row.median).items() if any(float(at) <= 1 for _, at, *_ in found)
    }
    lines = [
        f"{name} is faster on it {counts(colors_of(found))}, at {spread([error for *_, error in found])} times the MSE."
        for name, found in fast.items()
    ]
    lines += [
        f"{name} leaves an MSE that is lower by {spread([100 * (1 - share) for _, _, share, _ in found])} % "
        f"{counts(colors_of(found))}."
        for name, found in good.items()
    ]
    if small - set(fast):
        lines.append(f"Up to a megapixel so are {listed(sorted(small - set(fast), key=str.lower))}.")
    lines += faster_fits()
    if saving := sorted(gains(lambda row: row.peak_megabytes, MAIN_PHOTO), key=str.lower):
        lines.append(f"Less memory is needed by {listed(saving)}.")
    if files := smaller():
        errors = spread([error for found in files.values() for _, error, _ in found])
        programs = listed([name.split(" ")[0] for name in files])
        lines.append(f"Smaller dithered files are those of {programs}, at {errors} times the perceived error.")
    return textwrap.fill(" ".join([*lines, *better_looking()]), WIDTH) + "\n"


def colors_of(found: list[Gain]) -> list[str]:
    return [str(n_colors) for n_colors, *_ in found]


def counts(n_colors: list[str]) -> str:
    return f"with {listed(n_colors)} colors"
