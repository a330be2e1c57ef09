"""Messages in the words of the command line: -k where Python says n_colors."""

import re
from collections.abc import Sequence

from gpuquant.locations import is_url, without_secrets

OPTIONS = {
    "n_colors": "-k",
    "target_psnr": "--target-psnr",
    "color_space": "--color-space",
    "random_state": "--random-state",
    "keep_profile": "--keep-profile",
    "dither_strength": "--dither-strength",
    "max_pixels": "--max-pixels",
    "image_format": "--format",
    "shared_palette": "--shared-palette",
    "quantize_file": "gpuquant quantize",
    "quantize_files": "gpuquant batch",
    "extract_palette": "gpuquant palette",
    "apply_palette": "gpuquant apply",
}
PLAIN = "background cluster compression device dither effort jobs memory output palette prefix suffix weighting"
ONLY_WITH_VALUE = {name: f"--{name}" for name in PLAIN.split()}  # other things, too, where no value follows
MIN_LENGTH = 3  # of what the user wrote, to be left as it is: shorter texts stand within other words
NAMES = f"{'|'.join(OPTIONS)}|(?:{'|'.join(ONLY_WITH_VALUE)})(?==)"


def printable(text: str) -> str:
    """A line with what would steer a terminal made visible: names of files may hold anything."""
    return "".join(letter if letter.isprintable() else letter.encode("unicode_escape").decode() for letter in text)


def safe(message: str, arguments: Sequence[str]) -> str:
    """A message that may have arguments in it, without what is secret of URLs: they may stand where none is taken.

    Examples
    --------
    >>> from gpuquant.cli.words import safe
    >>> safe("no command 's3://me:secret@host/a'", ["s3://me:secret@host/a"])
    "no command 's3://host/a'"
    """
    for argument in filter(is_url, arguments):
        for text in (argument, argument.partition("=")[2]):
            if is_url(text):
                message = message.replace(text, without_secrets(text))
    return message


def in_cli_words(message: str, arguments: Sequence[str]) -> str:
    """A message about Python's arguments as one about options; what the user wrote stays as it is.

    Examples
    --------
    >>> from gpuquant.cli.words import in_cli_words
    >>> in_cli_words("n_colors=0 must be an integer; see max_pixels (--max-pixels)", [])
    '-k 0 must be an integer; see --max-pixels'
    >>> in_cli_words("name a folder with output (--output), or give a suffix (--suffix)", [])
    'name a folder with --output, or give a --suffix'
    >>> in_cli_words("n_colors.jpg: no such file", ["n_colors.jpg"])
    'n_colors.jpg: no such file'
    """
    written = sorted(
        (rf"(?<!\w){re.escape(text)}(?!\w)" for text in arguments if len(text) >= MIN_LENGTH), key=len, reverse=True
    )
    python = r"\b(?:[a-z]+='?\w+'?|[a-z]+_[a-z_]+)"  # a word of Python's, after which ours may stand in brackets
    both = rf"(?:{python}|output|suffix) \((?P<option>--[a-z-]+(?: --[a-z-]+)*|gpuquant \w+)\)"
    pattern = "|".join([*written, both, rf"\b(?P<name>{NAMES})\b(?P<value>=)?"])

    def replaced(found: re.Match[str]) -> str:
        name = found["name"]
        if name is None:
            return found["option"] or found[0]
        return (OPTIONS | ONLY_WITH_VALUE)[name] + (" " if found["value"] else "")

    return re.sub(pattern, replaced, message)
