"""The page as people meet it: served by the command, shown by a real browser."""

import base64
import contextlib
import io
import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Thread
from typing import Any
from urllib.parse import urlsplit

import pytest
from PIL import Image

ROOT = Path(__file__).parents[2]
FLAGS = ("--no-sandbox", "--disable-background-networking", "--disable-component-update", "--disable-sync")


@pytest.fixture(scope="session")
def runtime() -> None:
    """The files of onnxruntime-web, which a build fetches."""
    demo = ROOT / "polyexport" / "demo"
    if not all((demo / "runtime" / name).exists() for name in json.loads((demo / "runtime.json").read_text())["files"]):
        pytest.skip("built without onnxruntime-web; python hatch_build.py fetches it")


@pytest.fixture(scope="session")
def chromium() -> str:
    path = shutil.which("chromium")
    if path is None:
        pytest.skip("needs chromium")
    return path


@pytest.fixture(scope="module")
def playwright() -> Iterator[Any]:
    """Playwright, ended with the module: while it runs, its event loop is in the way of every other one."""
    from playwright.sync_api import sync_playwright

    with sync_playwright() as started:
        yield started


@pytest.fixture(scope="module")
def browser(runtime: None, playwright: Any, chromium: str) -> Iterator[Any]:
    launched = playwright.chromium.launch(executable_path=chromium, args=[*FLAGS])
    yield launched
    launched.close()


@contextlib.contextmanager
def served(*options: object) -> Iterator[str]:
    """`polyexport demo`, for the time of the block; gives its URL."""
    command = [sys.executable, "-m", "polyexport.cli.main", "demo", "--port", "0", *map(str, options)]
    environment = os.environ | {"NO_COLOR": "1"}
    with subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, env=environment
    ) as process:
        assert process.stdout is not None
        url = process.stdout.readline().strip()
        if not url:
            raise AssertionError(process.communicate()[1])
        yield url
        process.terminate()
        assert process.communicate(timeout=30)[1].splitlines()[-1] == "terminated"
        assert process.returncode == 143


@pytest.fixture(scope="session")
def url(runtime: None) -> Iterator[str]:
    """The shipped model's page."""
    with served() as url:
        yield url


@pytest.fixture(scope="module")
def tab(url: str, browser: Any) -> Iterator[Any]:
    """A tab with the shipped model's page, for tests of its modules."""
    page = browser.new_page()
    page.goto(url)
    yield page
    page.close()


@pytest.fixture
def serve(runtime: None) -> Iterator[Callable[..., str]]:
    with contextlib.ExitStack() as stack:
        yield lambda *options: stack.enter_context(served(*options))


@pytest.fixture
def static_host() -> Iterator[Callable[[Path], str]]:
    """A folder on a host that sends no headers of its own."""

    class Quiet(SimpleHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 - the base's word
            pass

    with contextlib.ExitStack() as stack:

        def host(folder: Path) -> str:
            server = stack.enter_context(ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(folder))))
            Thread(target=server.serve_forever, daemon=True).start()
            stack.callback(server.shutdown)
            return f"http://127.0.0.1:{server.server_address[1]}/"

        yield host


@dataclass
class Page:
    """One tab, and what it asked for and complained about."""

    tab: Any
    downloads: Path
    requests: list[str] = field(default_factory=list)
    complaints: list[str] = field(default_factory=list)

    def settle(self) -> None:
        """Wait until the network's picture is of what is on the sheet."""
        deadline = time.monotonic() + 60
        while True:
            shown, drawn = (self.tab.get_attribute(f"#{name}", "data-revision") for name in ("network", "drawing"))
            if shown == drawn:
                return
            assert time.monotonic() < deadline
            assert self.tab.locator("#message.bad").count() == 0 or "still runs on" in self.message, self.message
            self.tab.wait_for_timeout(20)

    def change(self, action: Callable[[], object]) -> None:
        """Do something that changes the drawing, perhaps only after a file is read; wait for it and for the network."""
        before = self.tab.get_attribute("#drawing", "data-revision")
        action()
        self.tab.wait_for_selector(f'#drawing:not([data-revision="{before}"])')
        self.settle()

    def example(self, number: int) -> None:
        """Take a drawing of the gallery, counted from 1."""
        self.change(lambda: self.tab.click(f"#examples button:nth-child({number})"))

    def drop(self, name: str, data: bytes) -> None:
        """Drop a file on the page."""
        transfer = self.tab.evaluate_handle(
            "([name, text]) => { const transfer = new DataTransfer();"
            " transfer.items.add(new File([Uint8Array.from(atob(text), c => c.charCodeAt(0))], name));"
            " return transfer; }",
            [name, base64.b64encode(data).decode()],
        )
        self.tab.dispatch_event("#drawing", "drop", {"dataTransfer": transfer})

    def refused(self, name: str, data: bytes) -> str:
        """Drop a file that cannot be the drawing; gives the message."""
        before = self.tab.get_attribute("#drawing", "data-revision")
        self.tab.evaluate("document.getElementById('file-message').textContent = ''")
        self.drop(name, data)
        self.tab.wait_for_selector("#file-message:visible:not(:empty)")
        assert self.tab.get_attribute("#drawing", "data-revision") == before
        return str(self.tab.inner_text("#file-message"))

    def run_on(self, index: int) -> None:
        """Choose a way to run, and wait until it does."""
        label = self.tab.locator("#way option").all_inner_texts()[index]
        self.tab.select_option("#way", index=index)
        self.tab.wait_for_selector(f'#way[data-running="{label}"]')
        self.settle()

    @property
    def message(self) -> str:
        return "" if self.tab.is_hidden("#message") else str(self.tab.inner_text("#message"))

    def stroke(self, *points: tuple[float, float], steps: int = 12) -> None:
        """With the mouse, from point to point; 0 to 1 from the sheet's upper left corner."""
        box = self.tab.locator("#drawing").bounding_box()
        at = [(box["x"] + x * box["width"], box["y"] + y * box["height"]) for x, y in points]
        self.tab.mouse.move(*at[0])
        self.tab.mouse.down()
        for x, y in at[1:]:
            self.tab.mouse.move(x, y, steps=steps)
        self.tab.mouse.up()

    def saved(self, button: str) -> Path:
        """The file that a button downloads."""
        with self.tab.expect_download() as download:
            self.tab.click(button)
        path: Path = self.downloads / download.value.suggested_filename
        download.value.save_as(path)
        return path

    def canvas(self, name: str) -> Image.Image:
        """What a canvas shows, pixel by pixel."""
        shown = self.tab.evaluate("name => document.getElementById(name).toDataURL('image/png')", name)
        return Image.open(io.BytesIO(base64.b64decode(shown.partition(",")[2]))).convert("RGB")


OpenPage = Callable[..., Page]


@pytest.fixture
def open_page(browser: Any, tmp_path: Path) -> Iterator[OpenPage]:
    """Opens a URL; at the end, no page has asked another host for anything, or complained."""
    opened: list[tuple[Page, str, Any]] = []

    def go(url: str, *, script: str = "", ready: bool = True, within: Any = None, **options: Any) -> Page:
        context = (within or browser).new_context(**{"viewport": {"width": 1280, "height": 900}, **options})
        context.set_default_timeout(60_000)
        if script:
            context.add_init_script(script)
        page = Page(context.new_page(), tmp_path)
        context.on("request", lambda request: page.requests.append(request.url))
        page.tab.on("pageerror", lambda error: page.complaints.append(str(error)))
        page.tab.on("console", lambda said: page.complaints.append(said.text) if said.type == "error" else None)
        opened.append((page, url, context))
        page.tab.goto(url)
        if ready:
            page.settle()
        return page

    yield go
    for page, url, context in opened:
        context.close()
        assert page.complaints == []
        hosts = {urlsplit(asked).netloc for asked in page.requests if not asked.startswith(("blob:", "data:"))}
        assert hosts == {urlsplit(url).netloc}
