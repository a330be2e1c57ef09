"""Files at shelf:// for every test of this folder."""

from collections.abc import Iterator
from typing import Any

import pytest
from stores import shelf


@pytest.fixture(autouse=True)
def files() -> Iterator[dict[str, Any]]:
    with shelf() as store:
        yield store
