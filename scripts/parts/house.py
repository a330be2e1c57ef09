"""The rooms of the package, their layers, and which modules import which."""

import ast
from pathlib import Path

PACKAGE = Path(__file__).parents[2] / "gpuquant"
LAYERS = [  # of the rooms, which are folders or modules of the package: each imports only those above it here
    ["errors", "tensors", "threads"],
    ["arguments", "devices", "memory", "whole_file"],
    ["colors", "locations"],
    ["ops"],
    ["clustering", "counting", "images"],
    ["palettes"],
    ["dithering", "estimator", "fitting"],
    ["cluster", "quantization", "report"],
    ["batch", "bench"],
    ["cli"],
    ["__main__"],
]
LAYER = {room: number for number, rooms in enumerate(LAYERS) for room in rooms}


def name_of(path: Path) -> str:
    """The name of a module within the package; that of a folder for its `__init__`."""
    parts = path.relative_to(PACKAGE).with_suffix("").parts
    return ".".join(part for part in parts if part != "__init__")


MODULES = {name_of(path): path for path in sorted(PACKAGE.rglob("*.py")) if path != PACKAGE / "__init__.py"}


def imports_of(path: Path) -> set[str]:
    """Every name that a file imports anywhere, with its module before it."""
    found: set[str] = set()
    for node in ast.walk(ast.parse(path.read_text())):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        elif isinstance(node, ast.ImportFrom) and node.module:
            assert node.level == 0, f"{path.name} imports relatively"
            found |= {f"{node.module}.{alias.name}" for alias in node.names}
    return found


def modules_imported_by(name: str) -> set[str]:
    """Our modules that one imports, in any spelling; a folder where it imports its names."""
    found = set()
    for imported in imports_of(MODULES[name]):
        parts = imported.split(".")[1:] if imported.startswith("gpuquant.") else []
        while parts and ".".join(parts) not in MODULES:
            parts.pop()
        found.add(".".join(parts))
    return found - {"", name}
