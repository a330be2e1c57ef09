"""Parts of a report as a browser shows them, a server of its folder, and a report of many photos."""

from contextlib import AbstractContextManager
from functools import partial
from http.server import SimpleHTTPRequestHandler
from pathlib import Path
from typing import Any

from conftest import Pixels
from servers import served

from gpuquant.report.folder import ReportFolder
from gpuquant.report.page import write_page
from gpuquant.report.record import PhotoRecord
from gpuquant.report.thumbnails import MadeThumbnails, thumbnail


class Quiet(SimpleHTTPRequestHandler):
    """Serves a folder and says nothing."""

    def log_message(self, *_: object) -> None:
        pass

    def do_GET(self) -> None:
        if self.path == "/favicon.ico":  # which browsers ask for of themselves
            self.send_response(204)
            self.end_headers()
        else:
            super().do_GET()


def folder_served(folder: Path) -> AbstractContextManager[str]:
    """The address of a server of a folder."""
    return served(partial(Quiet, directory=str(folder)))


def write_page_of_many(folder: Path, photo: Pixels, n_photos: int) -> None:
    """Write a report of photos that have the same two thumbnails."""
    files, data = ReportFolder(folder), MadeThumbnails(thumbnail(photo), thumbnail(photo // 64 * 64)).encoded()
    records = []
    for number in range(n_photos):
        (folder / f"{number}.png").write_bytes(b"")
        colors = tuple(f"#{number * 1000 + place:06x}" for place in range(16))
        record = PhotoRecord(
            f"photo {number}.jpg", width=214, height=143, n_colors=16, colors=colors, shares=(1 / 16,) * 16,
            mse=100.0, psnr=20 + number / 50, ssim=0.9, bytes_in=10_000, bytes_out=5_000, seconds={"read": 0.1},
        )  # fmt: skip
        records.append(files.keep(record, None, folder / f"{number}.png", data))
    write_page(files, records)


def names(driver: Any) -> list[str]:
    """The photos in the order in which they are listed."""
    titles = "return [...document.querySelectorAll('.photo h3')].map(h => h.textContent)"
    found: list[str] = driver.execute_script(titles)
    return found


def of(driver: Any, name: str, inside: str) -> Any:
    """An element in the card of a photo, when the card is filled in."""
    return driver.execute_async_script(
        "const [name, inside, done] = arguments;"
        "const card = [...document.querySelectorAll('.photo')].find(c => c.textContent.includes(name));"
        "card.scrollIntoView({block: 'center'});"
        "const found = () => card.querySelector(inside);"
        "const wait = () => found() ? done(found()) : setTimeout(wait, 10); wait();",
        name,
        inside,
    )


def press(driver: Any, *keys: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    ActionChains(driver).send_keys(*keys).perform()


def settled(driver: Any) -> None:
    """Wait until what is on the screen is drawn, and its pictures are there."""
    driver.execute_async_script(
        "const done = arguments[0], images = () => [...document.images].filter(i => i.loading === 'lazy');"
        "const wait = () => requestAnimationFrame(() => setTimeout(() => images().filter(i => {"
        "const box = i.getBoundingClientRect(); return box.bottom > 0 && box.top < innerHeight;"
        "}).every(i => i.complete) ? done() : wait(), 50)); wait();"
    )
