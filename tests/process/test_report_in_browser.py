"""The report in a browser: from a folder and from a server, with names that try to run, and a thousand photos."""

from collections.abc import Iterator
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import pytest
from browsing import folder_served, names, of, press, settled, write_page_of_many
from conftest import Pixels, script
from PIL import Image

from gpuquant import quantize_files
from gpuquant.report.recipe import report_folder

BROWSER = script("parts/browser")
RECTANGLE = "return arguments[0].getBoundingClientRect().toJSON()"
HOSTILE = "script><img src=x onerror=alert(1)>.png"

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(BROWSER.missing() is not None, reason=str(BROWSER.missing())),
]


@pytest.fixture(scope="module")
def tree(china: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder of photos, and one of their results: photos of several sizes, one broken, one with a bad name."""
    top = tmp_path_factory.mktemp("report")
    for name in ("a.png", "b10.png", "b9.png", f"x</{HOSTILE}"):
        (top / "photos" / name).parent.mkdir(parents=True, exist_ok=True)
    Image.fromarray(china).save(top / "photos" / "a.png")
    Image.fromarray(china[:, :70]).save(top / "photos" / "b10.png")
    Image.fromarray(china[:40]).save(top / "photos" / "b9.png")
    Image.fromarray(china[::2, ::2]).save(top / "photos" / "x<" / HOSTILE)
    (top / "photos" / "broken & <b>.jpg").write_bytes(b"not a photo")
    list(quantize_files(top / "photos", top / "out", 8, recursive=True, report=True))
    return top


@pytest.fixture(scope="module")
def thousand(china: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A page of a thousand photos, which have the same two thumbnails."""
    folder = tmp_path_factory.mktemp("thousand")
    write_page_of_many(folder, china, 1000)
    return folder


@pytest.fixture(scope="module", params=["file", "http"])
def address(request: pytest.FixtureRequest, tree: Path) -> Iterator[str]:
    """The folder above the page, as a URL."""
    with nullcontext(tree.as_uri()) if request.param == "file" else folder_served(tree) as address:
        yield address


@pytest.fixture(scope="module")
def started(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    with BROWSER.browser(tmp_path_factory.mktemp("profile")) as driver:
        yield driver


@pytest.fixture
def driver(started: Any) -> Iterator[Any]:
    """A browser, in which nothing may go wrong: no errors, and no violations of the policy."""
    BROWSER.resize(started, 1000, 900)
    yield started
    assert started.get_log("browser") == []


def test_pictures_are_there_and_failures_come_first(driver: Any, address: str) -> None:
    driver.get(f"{address}/out/report.html")
    settled(driver)
    assert names(driver)[0] == "broken & <b>.jpg"
    assert of(driver, "broken", ".error").text.startswith("Failed: it is not an image")
    sizes = driver.execute_script(
        "return [...document.images].filter(i => i.complete).map(i => [i.naturalWidth, i.naturalHeight])"
    )
    assert [214, 143] in sizes
    assert [0, 0] not in sizes


def test_sorting_searching_and_filtering(driver: Any, address: str) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys
    from selenium.webdriver.support.select import Select

    driver.get(f"{address}/out/report.html")
    Select(driver.find_element(By.ID, "sort")).select_by_value("name")
    assert names(driver) == ["a.png", "b9.png", "b10.png", "broken & <b>.jpg", f"x</{HOSTILE}"]
    Select(driver.find_element(By.ID, "sort")).select_by_value("large")
    assert names(driver)[0] == "a.png"
    assert names(driver)[-1] == "broken & <b>.jpg"  # of which nobody knows it
    search = driver.find_element(By.ID, "search")
    search.send_keys("B1 png")
    assert names(driver) == ["b10.png"]
    assert driver.find_element(By.ID, "shown").text == "1 of 5 photos"
    search.clear()
    search.send_keys("<img")
    assert names(driver) == [f"x</{HOSTILE}"]
    search.clear()
    search.send_keys(" ", Keys.TAB)
    press(driver, Keys.TAB)
    assert driver.switch_to.active_element.get_attribute("value") == "all"
    press(driver, Keys.ARROW_RIGHT)
    assert names(driver) == ["broken & <b>.jpg"]
    press(driver, Keys.ARROW_RIGHT)
    assert names(driver) == []


def test_the_slider_moves_by_keys_and_by_dragging(driver: Any, address: str) -> None:
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver.get(f"{address}/out/report.html")
    box, range_ = (of(driver, "a.png", inside) for inside in (".compare", ".compare input"))
    settled(driver)

    def at() -> float:
        return float(driver.execute_script("return arguments[0].style.getPropertyValue('--at')", box).removesuffix("%"))

    assert at() == 50
    driver.execute_script("arguments[0].focus()", range_)
    press(driver, Keys.ARROW_RIGHT, Keys.ARROW_RIGHT)
    assert at() == 52
    assert range_.get_attribute("aria-valuetext") == "52 % before"
    press(driver, Keys.HOME)
    assert at() == 0
    windows, width = driver.window_handles, box.size["width"]
    at_left = ActionChains(driver).move_to_element_with_offset(box, -width // 4, 5)
    at_left.click_and_hold().move_by_offset(width // 2, 0).release().perform()
    assert at() == pytest.approx(75, abs=2)
    assert driver.window_handles == windows  # dragging is no click


@pytest.mark.parametrize(("side", "place"), [("photos", -1), ("out", 1)])
def test_a_click_opens_the_file(driver: Any, address: str, side: str, place: int) -> None:
    from selenium.webdriver.common.action_chains import ActionChains

    driver.get(f"{address}/out/report.html")
    box = of(driver, HOSTILE, ".compare")
    settled(driver)
    before = driver.current_window_handle
    ActionChains(driver).move_to_element_with_offset(box, place * box.size["width"] // 4, 0).click().perform()
    (opened,) = set(driver.window_handles) - {before}
    driver.switch_to.window(opened)
    try:
        assert driver.current_url.startswith(f"{address}/{side}/")
        width = driver.execute_async_script(
            "const done = arguments[0], wait = () => document.images[0]?.naturalWidth"
            " ? done(document.images[0].naturalWidth) : setTimeout(wait, 10); wait();"
        )
        assert width == 107
    finally:
        driver.close()
        driver.switch_to.window(before)


@pytest.mark.parametrize("has_clipboard", [True, False])
def test_colors_are_copied(driver: Any, address: str, has_clipboard: bool) -> None:
    from selenium.webdriver.common.by import By
    from selenium.webdriver.common.keys import Keys

    driver.get(f"{address}/out/report.html")
    if not has_clipboard:
        driver.execute_script("Object.defineProperty(navigator, 'clipboard', {value: undefined})")
    first, line = of(driver, "a.png", ".palette button"), of(driver, "a.png", ".readout")
    settled(driver)
    first.click()
    driver.execute_async_script("setTimeout(arguments[0], 200)")
    color = first.get_attribute("aria-label").partition(",")[0]
    assert color in line.text
    assert line.text.endswith(": copied")
    first.send_keys(Keys.ARROW_RIGHT)
    second = driver.switch_to.active_element
    assert second != first
    assert second.get_attribute("title").split()[0] in line.text
    assert [one.get_attribute("tabindex") for one in (first, second)] == ["-1", "0"]
    second.send_keys(Keys.END, Keys.HOME)
    assert driver.switch_to.active_element == first
    search = driver.find_element(By.ID, "search")
    search.send_keys(Keys.CONTROL, "v")
    assert search.get_attribute("value") == color


def test_results_without_pictures_can_be_opened(driver: Any, china: Pixels, tmp_path: Path) -> None:
    Image.fromarray(china).save(tmp_path / "a.png")
    (outcome,) = quantize_files(tmp_path / "a.png", tmp_path / "out", 8)
    report_folder(tmp_path / "out", max_pixels=100)
    driver.get((tmp_path / "out" / "report.html").as_uri())
    assert of(driver, "a.png", ".frame a").get_attribute("href") == Path(str(outcome.target)).as_uri()
    assert of(driver, "a.png", ".warnings").text.startswith("it has no pictures here: ")


@pytest.mark.parametrize("width", [360, 1000])
def test_pictures_of_any_shape_are_seen(driver: Any, tmp_path: Path, width: int) -> None:
    """Of a single row, of a single column, and of a single pixel, with their labels; others keep their shape."""
    shapes = {
        "row": (1, 20_000),
        "column": (20_000, 1),
        "dot": (1, 1),
        "flat": (10, 200),
        "high": (200, 10),
        "usual": (40, 60),
    }
    (tmp_path / "photos").mkdir()
    for name, shape in shapes.items():
        Image.effect_noise(shape[::-1], 90).save(tmp_path / "photos" / f"{name}.png")
    list(quantize_files(tmp_path / "photos", tmp_path / "out", 4, report=True))
    BROWSER.resize(driver, width, 900)
    driver.get(f"file://{tmp_path}/out/report.html")
    settled(driver)
    for name, shape in shapes.items():
        box, frame = (
            driver.execute_script(RECTANGLE, of(driver, f"{name}.png", part)) for part in (".compare", ".frame")
        )
        assert min(box["width"], box["height"]) >= 9, name
        assert box["width"] <= frame["width"] + 1, name
        assert box["height"] <= frame["height"] + 1, name
        if 1 not in shape:
            assert box["width"] / box["height"] == pytest.approx(shape[1] / shape[0], rel=0.1)
        for side in ("left", "right"):
            label = driver.execute_script(RECTANGLE, of(driver, f"{name}.png", f".side.{side}"))
            assert label["width"] > 10, name
            assert frame["left"] <= label["left"] < label["right"] <= frame["right"] + 1, name
            assert frame["top"] <= label["top"] < label["bottom"] <= frame["bottom"] + 1, name


def test_names_run_nothing(driver: Any, address: str) -> None:
    from selenium.common.exceptions import NoAlertPresentException

    driver.get(f"{address}/out/report.html")
    name = of(driver, HOSTILE, "h3")
    settled(driver)
    assert name.text == f"x</{HOSTILE}"
    with pytest.raises(NoAlertPresentException):
        _ = driver.switch_to.alert.text
    assert driver.execute_script("return document.querySelectorAll('img[src=x], h3 img').length") == 0


@pytest.mark.parametrize("width", [360, 1000, 2000])
@pytest.mark.parametrize("scheme", ["light", "dark"])
def test_nothing_is_wider_than_the_window(driver: Any, address: str, width: int, scheme: str) -> None:
    BROWSER.resize(driver, width, 900, scheme)
    driver.get(f"{address}/out/report.html")
    settled(driver)
    assert driver.execute_script("return document.documentElement.scrollWidth") == width
    wide = driver.execute_script(
        "return [...document.querySelectorAll('.photo, .photo *, header *, .bar *')]"
        ".filter(e => e.getBoundingClientRect().right > innerWidth && getComputedStyle(e).position !== 'absolute')"
        ".map(e => e.outerHTML)"
    )
    assert wide == []
    page, ink = (
        sum(map(int, driver.execute_script(f"return getComputedStyle(document.body).{name}").strip("rgb()").split(",")))
        for name in ("backgroundColor", "color")
    )
    assert (page > ink) == (scheme == "light")


def test_without_scripts_there_are_totals_and_a_note(driver: Any, address: str) -> None:
    from selenium.webdriver.common.by import By

    driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": True})
    try:
        driver.get(f"{address}/out/report.html")
        text = driver.find_element(By.TAG_NAME, "body").text
        assert "The photos are listed by JavaScript, which is off." in text
        assert "1 failed" in text
    finally:
        driver.execute_cdp_cmd("Emulation.setScriptExecutionDisabled", {"value": False})


def test_a_thousand_photos_are_filled_in_as_they_are_seen(driver: Any, thousand: Path) -> None:
    from selenium.webdriver.common.by import By

    driver.get((thousand / "report.html").as_uri())
    settled(driver)
    assert len(names(driver)) == 1000
    n_filled = "return document.querySelectorAll('.facts').length"
    assert 2 <= driver.execute_script(n_filled) < 60
    driver.execute_script("window.scrollTo(0, document.documentElement.scrollHeight)")
    settled(driver)
    assert "39.98 dB" in of(driver, "photo 999.jpg", ".facts").text
    assert driver.execute_script(n_filled) < 200
    driver.find_element(By.ID, "search").send_keys("photo 77")
    wanted = {f"photo {number}.jpg" for number in range(1000) if "77" in str(number)}
    assert set(names(driver)) == wanted
    driver.execute_script("window.dispatchEvent(new Event('beforeprint'))")
    assert driver.execute_script(n_filled) == len(wanted)


def test_the_focus_is_seen(driver: Any, address: str) -> None:
    """On each side of a picture, and on its divider; and not below the bar that stays at the top."""
    from selenium.webdriver.common.action_chains import ActionChains
    from selenium.webdriver.common.keys import Keys

    driver.get(f"{address}/out/report.html")
    box = of(driver, "a.png", ".compare")
    settled(driver)
    press(driver, Keys.SHIFT)  # then a focus that a script sets is one of the keyboard
    pictures = {box.screenshot_as_png}
    for inside in ("a.before", "a.after", "input"):
        driver.execute_script("arguments[0].querySelector(arguments[1]).focus()", box, inside)
        pictures.add(box.screenshot_as_png)
    assert len(pictures) == 4
    BROWSER.resize(driver, 700, 400)
    driver.execute_script("arguments[0].focus({preventScroll: true})", of(driver, "b10.png", ".palette button"))
    for _ in range(12):
        ActionChains(driver).key_down(Keys.SHIFT).send_keys(Keys.TAB).key_up(Keys.SHIFT).perform()
        top, bar = driver.execute_script(
            "return [document.activeElement, document.querySelector('.bar')].map(e => e.getBoundingClientRect())"
        )
        if driver.execute_script("return document.activeElement.closest('.photo') !== null"):
            assert top["bottom"] - min(top["height"], 40) >= bar["bottom"] - 1


def test_it_is_printed(driver: Any, tree: Path) -> None:
    """On A4 without what one cannot use there; no line is broken, and nothing lies over something else."""
    driver.get((tree / "out" / "report.html").as_uri())
    settled(driver)
    printed = driver.print_page()
    assert len(printed) > 10_000
    BROWSER.resize(driver, 718, 1000)
    driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": "print"})
    try:
        bars = driver.execute_script("return [...document.querySelectorAll('.bar, .how')].map(e => e.offsetHeight)")
        assert set(bars) == {0}
        assert driver.execute_script("return document.documentElement.scrollWidth") == 718
        buttons = "return [...document.querySelectorAll('.palette button')].map(e => [e.scrollWidth, e.clientWidth])"
        assert all(wanted <= there for wanted, there in driver.execute_script(buttons))
        n_lines = driver.execute_script(
            "return [...document.querySelectorAll('.facts dd:not(.wide)')].map(e => {"
            "const all = document.createRange(); all.selectNodeContents(e); return all.getClientRects().length})"
        )
        assert set(n_lines) == {1}
        gap = driver.execute_script(
            "const [charts, photo] = ['.charts', '.photo'].map(n => document.querySelector(n).getBoundingClientRect());"
            "return photo.top - charts.bottom"
        )
        assert gap > 5
    finally:
        driver.execute_cdp_cmd("Emulation.setEmulatedMedia", {"media": ""})
