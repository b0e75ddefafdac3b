"""Takes docs/page.png, the picture of the demo page with the shipped model: python docs/page.py"""

import subprocess
import sys
from pathlib import Path

from playwright.sync_api import sync_playwright

WIDTH, HEIGHT = 1280, 900


def main() -> None:
    """The page with the first drawing of its gallery, when the network has filled it."""
    command = [sys.executable, "-m", "polyexport.cli.main", "demo", "--port", "0"]
    # The command is this file's own.
    with subprocess.Popen(command, stdout=subprocess.PIPE, text=True) as server, sync_playwright() as playwright:  # noqa: S603
        assert server.stdout is not None
        browser = playwright.chromium.launch(executable_path="/usr/bin/chromium", args=["--no-sandbox"])
        tab = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT})
        tab.goto(server.stdout.readline().strip())
        tab.wait_for_selector("#shares:not(:empty)")  # it comes last, when nothing changes any more
        tab.screenshot(path=Path(__file__).with_name("page.png"))
        browser.close()
        server.terminate()


if __name__ == "__main__":
    main()
