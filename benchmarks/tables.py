"""The tables of both pages, from stored results. gpuquant's rows are bold where others stand beside them."""

import re
import textwrap

from stored import (
    MAIN_PHOTO,
    OURS,
    SCIKIT_LEARN,
    SUBJECTS,
    WIDTH,
    by_size,
    documents,
    figures,
    machine,
    measurements,
    megapixels,
    tables,
    words_of,
)

from gpuquant.bench.measuring import COLUMNS, Measurement

KODAK = re.compile(r"Kodak, \d+ photos, K = (\d+), (.+): (MSE|time) .*")
FLIP = re.compile(r"FLIP, Kodak, \d+ photos, (K = \d+), (.+)")
ESTIMATOR = (
    r"china_13mp as a JPEG, K = (8), max_iter 300: time / scikit-learn's \| "
    r"ours ([\d.]+) s, scikit-learn ([\d.]+) s .*?, (\d+) labels differ, .*"
)
BATCH = r"(\d+) photos: time of a loop / that of the batch \| ([\d.]+) s, (\d+) MP/s; loop ([\d.]+) s"
EFFORTS = ("fast", "default", "best")  # how names of our rows over the Kodak photographs begin
WORDS = ("beside it",)  # columns that are no numbers, as the first is never one
NOT_SHOWN = ("MP/s", "colors", "iterations")  # of COLUMNS: megapixels are in the heading, and K colors are checked
SAME_START = ("/ first row", "first s", "colors", "MP/s")  # the same of k-means from the same start


def markdown(columns: dict[str, list[str]]) -> str:
    """A table of columns by their headings, without those that are empty."""
    shown = {heading: texts for heading, texts in columns.items() if any(texts)}
    rules = ["---" if number == 0 or heading in WORDS else "---:" for number, heading in enumerate(shown)]
    rows = [list(shown), rules, *zip(*shown.values(), strict=True)]
    return "".join(f"| {' | '.join(row)} |\n" for row in rows)


def bold(name: str, text: str) -> str:
    return f"**{text}**" if text and name.startswith(OURS) else text


def section(heading: str, found: dict[str, object], without: tuple[str, ...] = NOT_SHOWN) -> str:
    """One stored table under a heading, and in one line below what has no row."""
    rows = measurements(found)
    where = "" if found["device"] == "cpu" else f", {found['device']}"
    return (
        f"\n**{heading}, {megapixels(rows)} megapixels, K = {found['n_colors']}{where}**\n\n{compared(rows, without)}"
    )


def compared(rows: list[Measurement], without: tuple[str, ...]) -> str:
    done = [row for row in rows if row.seconds]
    columns = {
        heading.replace("/ first row", "/ gpuquant's"): [bold(row.name, text(row, done[0].median)) for row in done]
        for heading, text in COLUMNS.items()
        if heading not in without
    }
    missing = "; ".join(f"{row.name} ({row.problem})" for row in rows if not row.seconds)
    return markdown(columns) + (f"\n{textwrap.fill(f'Without figures: {missing}.', WIDTH)}\n" if missing else "")


def ratios(subject: str, start: str = "") -> str:
    """The single figures whose names start so, as a table."""
    rows = figures(subject, start)
    columns = {
        "what": [row["what"].removeprefix(start) for row in rows],
        "measured": [row["measured"] for row in rows],
        "goal": [goal(row) for row in rows],
        "beside it": [row["beside"] for row in rows],
    }
    return markdown(columns)


def goal(row: dict[str, str]) -> str:
    """The goal of a figure: at least, if the aim is above it, or else at most; and whether it is missed."""
    if not row["reach / aim"]:
        return ""
    measured, reach, aim = float(row["measured"]), *map(float, row["reach / aim"].split(" / "))
    is_missed = measured < reach if aim > reach else measured > reach
    return f"{reach:.3g}{' (missed)' if is_missed else ''}"


def grid(cells: dict[str, dict[str, str]], headings: list[str]) -> str:
    """A table from its cells, by the names of rows and by the headings of columns."""
    names = {"": [bold(name, name) for name in cells]}
    return markdown(names | {one: [bold(name, row.get(one, "")) for name, row in cells.items()] for one in headings})


def efforts() -> str:
    """The error over the Kodak photographs and the time of each effort, a column for each K."""
    cells: dict[str, dict[str, str]] = {}
    for row in figures("quality"):
        if matched := KODAK.fullmatch(row["what"]):
            name = f"{OURS}, {matched[2]}" if matched[2].startswith(EFFORTS) else matched[2]
            cells.setdefault(f"{name}: {matched[3]}", {})[f"K = {matched[1]}"] = row["measured"]
    columns = {column for row in cells.values() for column in row}
    return grid(cells, sorted(columns, key=lambda column: int(column.removeprefix("K = "))))


def perceived() -> str:
    """FLIP, MSE and bytes of each way to write a photo, a column for each K."""
    cells: dict[str, dict[str, str]] = {}
    for row in figures("looks"):
        if matched := FLIP.fullmatch(row["what"]):
            cells.setdefault(matched[2], {})[matched[1]] = f"{row['measured']}; {row['beside']}"
    return grid(cells, list(dict.fromkeys(column for row in cells.values() for column in row)))


def sizes(n_colors: int) -> str:
    """The seconds and the error of each quantizer on the same photo in each size, a column for each."""
    cells: dict[str, dict[str, str]] = {}
    headings = []
    for found in by_size(n_colors):
        rows = measurements(found)
        headings.append(f"{megapixels(rows)} megapixels")
        for row in rows:
            measured = f"{seconds(row)} / {row.mse:.1f}" if row.seconds else "-"
            cells.setdefault(row.name, {})[headings[-1]] = measured
    described = f"\n**Seconds / MSE by size, china.jpg, K = {n_colors}** (-: stopped, or not begun)\n\n"
    return described + grid(cells, headings)


def seconds(row: Measurement) -> str:
    return f"{row.median:.3f}" if row.median < 0.1 else f"{row.median:.2f}"


def machines() -> str:
    """The machines that stored results come from."""
    found: dict[str, list[str]] = {}
    for subject in SUBJECTS:
        for device, document in documents(subject):
            found.setdefault(machine(document["machine"]), []).append(f"{subject}-{device}")
    lines = [f"{about} ({', '.join(names)})" if len(found) > 1 else about for about, names in found.items()]
    return f"\nMeasured on {'; and on '.join(lines)}.\n"


def in_short() -> str:
    """The five rows of README.md: a photo in few and in many colors, its memory, the estimator, and a batch."""
    few, many = (
        {row.name: row for row in measurements(found)}
        for n_colors in (8, 256)
        for found in tables("peers", photo=MAIN_PHOTO, n_colors=n_colors, device="cpu")
    )
    (ours, theirs), (ours_many, theirs_many) = ((rows[OURS], rows[SCIKIT_LEARN]) for rows in (few, many))
    n_clusters, taken, their_seconds, n_differ = words_of("estimator", ESTIMATOR)
    n_photos, batch, speed, loop = words_of("batch", BATCH)
    cores = {
        f"{about['processor']}, {about['cores']} cores": None
        for subject in ("quantize", "estimator", "batch")
        for _, document in documents(subject)
        for about in [document["machine"]]
    }
    memory = "not told" if theirs.peak_megabytes is None else f"{theirs.peak_megabytes:.0f} MB"
    columns = {
        f"on {' and '.join(cores)}": [
            f"a photo of {megapixels([ours])} megapixels in {ours.n_colors} colors",
            f"the same in {ours_many.n_colors} colors",
            f"memory for {ours.n_colors} colors, beside the pixels",
            f"`KMeans` on its pixels, as a JPEG, {n_clusters} clusters",
            f"{n_photos} photos as one batch",
        ],
        "**gpuquant**": [
            f"**{text}**"
            for text in (
                time_and_error(ours),
                time_and_error(ours_many),
                f"{ours.peak_megabytes:.0f} MB",
                f"{taken} s",
                f"{batch} s, {speed} MP/s",
            )
        ],
        "beside it": [
            f"scikit-learn's KMeans: {time_and_error(theirs)}",
            f"scikit-learn's KMeans: {time_and_error(theirs_many)}",
            f"scikit-learn's KMeans: {memory}",
            f"scikit-learn's: {their_seconds} s; {n_differ} labels differ",
            f"one after the other: {loop} s",
        ],
    }
    return markdown(columns)


def time_and_error(row: Measurement) -> str:
    return f"{row.median:.2f} s, MSE {row.mse:.1f}" if row.seconds else row.problem
