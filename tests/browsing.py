"""What a browser shows of a report, and a server of its folder."""

from http.server import SimpleHTTPRequestHandler
from typing import Any


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
