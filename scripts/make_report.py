"""Write the tables of README.md between its markers, from benchmarks/results. Usage: make_report.py

The results are what `gpuquant bench --out benchmarks/results/bench-NAME.json` writes.
"""

import json
import re
from pathlib import Path

from gpuquant.benchmark import Measurement
from gpuquant.cli_bench import table

ROOT = Path(__file__).parents[1]
README = ROOT / "README.md"
MARKED = re.compile(r"(<!-- results: made by scripts/make_report.py -->\n).*?(<!-- end of results -->)", re.DOTALL)


def report(path: Path) -> str:
    """One file of results as a paragraph and a table."""
    found = json.loads(path.read_text())
    measurements = [Measurement(**{**row, "seconds": tuple(row["seconds"])}) for row in found["measurements"]]
    megapixels = found["width"] * found["height"] / 1e6
    runs = max(len(one.seconds) for one in measurements)
    where = f"{found['processor']}, {found['cores']} cores, {found['threads']} threads, torch {found['torch']}"
    about = f"{megapixels:.1f} megapixels, K = {found['n_colors']}; {where}; medians of up to {runs} runs:"
    return f"\n{about}\n\n{table(measurements)}"


def readme() -> str:
    """README.md with the tables of all results."""
    paths = sorted((ROOT / "benchmarks" / "results").glob("bench-*.json"))
    reports = "".join(map(report, paths))
    return MARKED.sub(lambda marked: f"{marked[1]}{reports}\n{marked[2]}", README.read_text())


if __name__ == "__main__":
    README.write_text(readme())
    print(f"wrote {README}")
