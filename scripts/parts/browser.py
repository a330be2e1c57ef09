"""Debian's chromium without a window, for looking at reports: through Selenium, which the extra dev has."""

import os
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path
from typing import Any


def missing() -> str | None:
    """Say what is missing for a browser, and how to get it; None if all is there."""
    if find_spec("selenium") is None:
        return "there is no module selenium; scripts/setup.sh dev installs it"
    lacking = [name for name in ("chromium", "chromedriver") if shutil.which(name) is None]
    if lacking:
        return f"there is no {' and no '.join(lacking)}; on Debian: apt-get install chromium chromium-driver"
    return None


@contextmanager
def browser(folder: Path) -> Iterator[Any]:  # whose profile is kept in the folder
    """A driver of Selenium's; to be used where nothing is missing."""
    from selenium import webdriver

    options = webdriver.ChromeOptions()
    options.binary_location = str(shutil.which("chromium"))
    for argument in ("--headless=new", "--disable-gpu", "--disable-dev-shm-usage", "--hide-scrollbars"):
        options.add_argument(argument)
    options.add_argument(f"--user-data-dir={folder}")
    if hasattr(os, "geteuid") and os.geteuid() == 0:
        options.add_argument("--no-sandbox")  # which the browser refuses root
    options.set_capability("goog:loggingPrefs", {"browser": "ALL"})
    driver = webdriver.Chrome(options, webdriver.ChromeService(shutil.which("chromedriver")))
    try:
        yield driver
    finally:
        driver.quit()


def resize(driver: Any, width: int, height: int, scheme: str = "light") -> None:
    """Make the page as wide and high as that, in pixels, and light or dark."""
    size = {"width": width, "height": height, "deviceScaleFactor": 1, "mobile": False}
    driver.execute_cdp_cmd("Emulation.setDeviceMetricsOverride", size)
    features = [{"name": "prefers-color-scheme", "value": scheme}]
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"features": features})
