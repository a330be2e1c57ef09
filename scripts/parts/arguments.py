"""The arguments of the Python scripts, which read them before they import what takes long or may be missing."""

import argparse
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import NoReturn


class Arguments(argparse.ArgumentParser):
    """A parser whose help is a script's docstring, and whose errors are one line."""

    def __init__(self, about: str | None) -> None:
        form = argparse.RawDescriptionHelpFormatter
        super().__init__(description=about, formatter_class=form, allow_abbrev=False)

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; --help lists what there is\n")


@contextmanager
def needing(extra: str) -> Iterator[None]:
    """End in one line that names an extra of gpuquant where an import in it fails."""
    try:
        yield
    except ModuleNotFoundError as error:
        script = Path(sys.argv[0]).name
        sys.exit(f"{script}: there is no module {error.name}; scripts/setup.sh {extra} installs what this needs")
