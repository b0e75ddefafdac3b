"""What people do on the page, done by a browser."""

import base64
import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import onnx
import onnx.helper
import pytest
from numpy.typing import NDArray
from PIL import Image

from polyexport.demo.site import export_site
from polyexport.evaluate.floodfill import flood_fill
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.pixels import read_image
from polyexport.model.contract import METADATA_KEY
from polyexport.model.golden import GoldenSample
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.model.result import ResultFields

OpenPage = Callable[..., Any]
Serve = Callable[..., str]

SQUARE = [
    [(0.45, 0.2), (0.2, 0.2), (0.2, 0.8), (0.35, 0.8)],
    [(0.45, 0.8), (0.8, 0.8), (0.8, 0.2), (0.55, 0.2)],
]
"""With a gap of a tenth of the sheet above and below."""


def pixels(image: Path | Image.Image) -> NDArray[np.int16]:
    if isinstance(image, Path):
        return read_image(image).pixels.astype(np.int16)
    return np.asarray(image).astype(np.int16)


def assert_same(found: NDArray[np.int16], expected: NDArray[np.int16], *, equal: float = 0.9999) -> None:
    """Equal where this was written; another processor may round a value in ten thousand the other way."""
    assert found.shape == expected.shape
    difference = np.abs(found - expected)
    assert difference.max() <= 1
    assert (difference == 0).mean() >= equal


def test_a_broken_square_drawn_with_the_mouse_is_what_infer_makes_of_it(
    url: str, open_page: OpenPage, tmp_path: Path
) -> None:
    page = open_page(url)
    page.tab.click("#clear")
    for points in SQUARE:
        page.stroke(*points)
    page.tab.fill("#color-text", "dodgerblue")
    page.settle()

    drawing, colored = page.saved("#download-drawing"), page.saved("#download")
    assert (drawing.name, colored.name) == ("drawing.png", "colored-1e90ff.png")
    assert pixels(drawing).shape == (512, 512, 3)
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", drawing, "--color", "dodgerblue"]
    subprocess.run([*command, "--provider", "cpu", "-o", tmp_path / "out", "-q"], check=True)
    assert_same(pixels(colored), pixels(tmp_path / "out" / "dodgerblue" / "drawing.png"))
    assert np.array_equal(pixels(page.canvas("network")), pixels(colored))

    # The network fills it; a flood fill leaks, as the one that `evaluate` knows does.
    assert np.abs(pixels(colored)[160:360, 160:360] - (30, 144, 255)).mean() < 4
    flood = pixels(page.canvas("flood"))
    assert (flood[256, 256] == 255).all()
    assert np.array_equal(flood, flood_fill(pixels(drawing).astype(np.uint8), (30, 144, 255)))
    assert " ms" in page.tab.inner_text("#network-ms")
    assert " ms" in page.tab.inner_text("#flood-ms")


def test_it_is_live_while_drawing_and_takes_things_back(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    page.tab.click("#clear")
    page.settle()
    blank = page.canvas("network")
    box = page.tab.locator("#drawing").bounding_box()
    page.tab.mouse.move(box["x"] + 50, box["y"] + 50)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 250, box["y"] + 50, steps=8)
    page.settle()  # the button is still down
    assert page.canvas("network") != blank
    page.tab.mouse.up()

    drawn = page.canvas("drawing")
    page.tab.keyboard.press("Control+z")
    assert page.canvas("drawing") != drawn
    assert pixels(page.canvas("drawing")).min() == 255
    page.tab.keyboard.press("Control+Shift+z")
    assert page.canvas("drawing") == drawn
    page.tab.click("#undo")
    page.settle()
    assert page.canvas("network") == blank
    page.tab.click("#redo")
    page.tab.keyboard.press("Delete")
    page.settle()
    assert page.canvas("network") == blank


def test_the_tools_and_their_width(url: str, open_page: OpenPage) -> None:
    page = open_page(url)

    def ink() -> int:
        return int((pixels(page.canvas("drawing")) < 128).all(axis=-1).sum())

    page.tab.click("#clear")
    page.stroke((0.1, 0.5), (0.9, 0.5))
    thin = ink()
    assert thin > 2000
    page.tab.click("#clear")
    page.tab.locator("#width").fill("24")
    page.stroke((0.1, 0.5), (0.9, 0.5))
    thick = ink()
    assert thick > 3 * thin
    page.tab.locator("#width").fill("6")

    page.tab.get_by_label("Erase gaps").check()
    page.stroke((0.1, 0.5), (0.9, 0.5))
    middle = pixels(page.canvas("drawing"))[252:260, :, 0].mean(axis=0) < 200
    assert np.count_nonzero(np.diff(middle.astype(int)) == 1) >= 5  # pieces, and ink between the gaps
    assert thick / 4 < ink() < thick

    page.tab.locator("#width").fill("12")
    page.tab.get_by_label("Eraser").check()
    page.stroke((0.1, 0.5), (0.9, 0.5))
    assert ink() == 0


def test_the_eraser_bites_round_gaps_that_the_network_passes_over(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    page.tab.click("#clear")
    angles = np.linspace(0, 2 * np.pi, 25)
    page.stroke(*[(0.5 + 0.3 * np.cos(angle), 0.5 + 0.3 * np.sin(angle)) for angle in angles], steps=2)
    page.settle()
    middle = np.s_[226:286, 226:286]
    assert (pixels(page.canvas("flood"))[middle] == (255, 99, 71)).all()
    page.tab.get_by_label("Eraser").check()
    page.stroke((0.8, 0.5))
    page.stroke((0.5, 0.2))
    page.settle()
    drawn = pixels(page.canvas("drawing"))
    y, x = np.mgrid[:512, :512] + 0.5
    bite = np.hypot(x - 0.8 * 512, y - 256)
    assert (drawn[bite < 9] == 255).all()
    assert (drawn[(bite > 14) & (bite < 30)] < 60).any()
    assert (pixels(page.canvas("flood"))[middle] == 255).all()
    assert np.abs(pixels(page.canvas("network"))[middle] - (255, 99, 71)).mean() < 4
    page.tab.click("#undo")
    page.tab.click("#undo")
    page.settle()
    assert (pixels(page.canvas("flood"))[middle] == (255, 99, 71)).all()


def test_a_square_by_keyboard_alone(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    keyboard = page.tab.keyboard
    keyboard.press("Delete")
    page.tab.locator("#drawing").focus()
    assert page.tab.is_visible("#cursor")
    for key in ("ArrowLeft", "ArrowUp"):
        for _ in range(4):
            keyboard.press(f"Shift+{key}")
    keyboard.press("Space")
    assert page.tab.inner_text("#pen") == "down"
    for key in ("ArrowRight", "ArrowDown", "ArrowLeft"):
        for _ in range(8):
            keyboard.press(f"Shift+{key}")
    keyboard.press("Space")
    assert page.tab.inner_text("#pen") == "up"
    keyboard.press("ArrowLeft")  # lifted: it leaves no mark
    page.settle()
    drawn = pixels(page.canvas("drawing"))
    assert (drawn[128, 132:380] < 128).all()
    assert (drawn[132:380, 384] < 128).all()
    assert (drawn[160:360, :240] == 255).all()
    keyboard.press("e")
    assert page.tab.get_by_label("Eraser").is_checked()
    keyboard.press("]")
    assert page.tab.input_value("#width") == "7"
    page.change(lambda: keyboard.press("2"))
    assert pixels(page.canvas("drawing")).min() < 60
    with page.tab.expect_download() as download:
        keyboard.press("s")
    assert download.value.suggested_filename == "colored-ff6347.png"


def test_a_finger_on_a_phone(url: str, open_page: OpenPage) -> None:
    page = open_page(url, viewport={"width": 390, "height": 844}, has_touch=True, is_mobile=True)
    page.tab.tap("#clear")
    page.tab.locator("#drawing").scroll_into_view_if_needed()
    scrolled = page.tab.evaluate("scrollY")
    box = page.tab.locator("#drawing").bounding_box()
    session = page.tab.context.new_cdp_session(page.tab)

    def touch(kind: str, *at: tuple[float, float]) -> None:
        points = [{"x": box["x"] + x * box["width"], "y": box["y"] + y * box["height"]} for x, y in at]
        session.send("Input.dispatchTouchEvent", {"type": kind, "touchPoints": points})

    touch("touchStart", (0.3, 0.3))
    for step in range(10):
        touch("touchMove", (0.3, 0.3 + 0.05 * step))
    touch("touchEnd")
    page.settle()
    assert (pixels(page.canvas("drawing"))[160:360, 153] < 128).all()
    assert page.tab.evaluate("scrollY") == scrolled  # the sheet was drawn on, not the page moved


def test_nothing_sticks_out_and_everything_is_large_enough_for_fingers(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    for width in (320, 390, 768, 1280):
        page.tab.set_viewport_size({"width": width, "height": 844})
        assert page.tab.evaluate("document.documentElement.scrollWidth") <= width
    small = page.tab.evaluate(
        "[...document.querySelectorAll('button, select, summary, .segments label')]"
        ".filter(e => e.getBoundingClientRect().height < 32).map(e => e.outerHTML)"
    )
    assert small == []


def test_one_thread_and_two_give_the_same(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    options = page.tab.locator("#way option").all_inner_texts()
    assert options[-1] == "CPU (WASM), 1 thread"
    assert page.tab.evaluate("crossOriginIsolated")
    if page.tab.evaluate("navigator.hardwareConcurrency") == 1:
        pytest.skip("one core")
    assert "threads" in options[0]
    several = page.canvas("network")
    page.run_on(len(options) - 1)
    assert page.message == ""
    assert page.canvas("network") == several


def test_a_host_without_the_headers_is_slower_and_says_so(
    url: str, open_page: OpenPage, static_host: Callable[[Path], str], shipped_path: Path, tmp_path: Path
) -> None:
    export_site(shipped_path, tmp_path / "site")
    fast, page = open_page(url), open_page(static_host(tmp_path / "site"))
    assert "WASM threads are off, so the network runs on one" in page.message
    assert "slower" in page.message
    assert page.tab.locator("#way option").all_inner_texts() == ["CPU (WASM), 1 thread"]
    assert page.canvas("network") == fast.canvas("network")


def test_a_browser_without_threads_is_slower_and_says_so(url: str, open_page: OpenPage) -> None:
    without = "delete window.SharedArrayBuffer; delete window.crossOriginIsolated;"
    page = open_page(url, script=without)
    assert "This browser has no WASM threads" in page.message
    assert " ms" in page.tab.inner_text("#network-ms")


def test_without_a_connection_it_goes_on(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    before = page.canvas("network")
    page.tab.context.set_offline(True)
    page.example(2)
    assert page.canvas("network") != before
    # What would have to be fetched cannot take the place of what runs.
    way = page.tab.input_value("#way")
    page.tab.select_option("#way", index=page.tab.locator("#way option").count() - 1)
    page.tab.wait_for_selector("#message.bad")
    assert f"The network still runs on: {way}." in page.message
    assert page.tab.input_value("#way") == way
    drawn = page.canvas("network")
    page.example(3)
    assert page.canvas("network") != drawn
    page.complaints.clear()  # the browser's own, of what it could not fetch


def test_a_touch_is_a_dot_and_a_stroke_is_one_pointers(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    page.tab.click("#clear")
    page.stroke((0.5, 0.5))
    assert (pixels(page.canvas("drawing"))[255:257, 255:257] < 128).all()
    box = page.tab.locator("#drawing").bounding_box()
    page.tab.mouse.move(box["x"] + 20, box["y"] + 30)
    page.tab.mouse.down()
    page.tab.mouse.move(box["x"] + 100, box["y"] + 30)
    page.tab.dispatch_event("#drawing", "pointerup", {"pointerId": 99})  # another finger
    page.tab.mouse.move(box["x"] + 200, box["y"] + 30)
    row = pixels(page.canvas("drawing"))[round(30 / box["height"] * 512)]
    assert (row[round(150 / box["width"] * 512)] < 128).all()
    page.tab.keyboard.press("Delete")  # in the middle of it
    page.tab.mouse.move(box["x"] + 300, box["y"] + 30)
    page.tab.mouse.up()
    assert pixels(page.canvas("drawing")).min() == 255


def test_a_picture_has_the_name_of_its_own_color(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    page.tab.evaluate("Worker.prototype.postMessage = () => {}")  # the network hangs
    page.tab.fill("#color-text", "dodgerblue")
    page.tab.wait_for_timeout(200)
    assert page.saved("#download").name == "colored-ff6347.png"


def test_what_is_drawn_while_the_model_comes_is_kept(
    open_page: OpenPage, serve: Serve, model_of: Callable[[str], Path]
) -> None:
    slow = "const send = Worker.prototype.postMessage; Worker.prototype.postMessage = function (...given) {"
    slow += " setTimeout(() => send.apply(this, given), 1500); };"
    page = open_page(serve("--model", model_of("rgb")), script=slow, ready=False)
    page.tab.click("#clear")
    page.stroke((0.1, 0.5), (0.9, 0.5))
    page.settle()
    drawn = pixels(page.canvas("drawing"))
    assert (drawn[254:258, 100:400] < 200).all()
    assert (drawn[:200] == 255).all()


def test_the_network_fills_every_example(url: str, open_page: OpenPage, shipped: Model) -> None:
    page = open_page(url)
    examples = page.tab.locator("#examples button").count()
    assert examples == 10
    for number in range(1, examples + 1):
        if number > 1:  # the first one is there already, and the same drawing would change nothing
            page.example(number)
        drawing = pixels(page.canvas("drawing")).astype(np.uint8)
        [[expected]] = shipped.colorize([drawing], ["tomato"])
        colored = pixels(page.canvas("network"))
        assert_same(colored, expected.astype(np.int16))
        assert (np.abs(colored - (255, 99, 71)).max(axis=-1) < 30).mean() > 0.05, number


@pytest.mark.parametrize("kind", ["rgb fixed", "rgb many", "vocabulary", "vocabulary many", "table", "encoder many"])
def test_every_kind_of_model(kind: str, serve: Serve, open_page: OpenPage, model_of: Callable[[str], Path]) -> None:
    model = load_model(model_of(kind), provider="cpu")
    page = open_page(serve("--model", model_of(kind)))
    assert model.contract.color is not None
    vocabulary = model.contract.color.conditioning != "rgb"
    assert page.tab.is_hidden("#any-color") == vocabulary
    color = "house blue" if vocabulary else "rgb(10, 200, 30)"
    if vocabulary:
        page.tab.click("#swatches >> [title='house blue']")
    else:
        page.tab.fill("#color-text", color)
    page.settle()
    drawing = pixels(page.canvas("drawing")).astype(np.uint8)
    [[expected]] = model.colorize([drawing], [color])
    assert_same(pixels(page.canvas("network")), expected.astype(np.int16))


@pytest.mark.parametrize("kind", ["rgb", "vocabulary many", "rgb fixed"])
def test_a_model_of_fills_gets_the_edges_of_the_ink(
    kind: str, serve: Serve, open_page: OpenPage, build_model: Callable[..., bytes], tmp_path: Path
) -> None:
    path = tmp_path / "fill.onnx"
    path.write_bytes(build_model(kind, result=ResultFields(kind="fill")))
    model = load_model(path, provider="cpu")
    page = open_page(serve("--model", path))
    color = "tomato" if kind != "vocabulary many" else "red"
    for number in (1, 5, 9):
        if number > 1:
            page.example(number)
        drawing = pixels(page.canvas("drawing")).astype(np.uint8)
        [[expected]] = model.colorize([drawing], [color])
        assert_same(pixels(page.canvas("network")), expected.astype(np.int16))
        assert expected.min() < 100  # something is filled


def test_vectors_that_nobody_explains_are_refused(
    serve: Serve, open_page: OpenPage, model_of: Callable[[str], Path]
) -> None:
    page = open_page(serve("--model", model_of("vectors")), ready=False)
    page.tab.wait_for_selector("#message.bad")
    assert "color embeddings" in page.message
    assert "xport it with the table" in page.message


@pytest.fixture(scope="module")
def exported(runtime: None, model_of: Callable[[str], Path], tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A site with a tiny model."""
    folder = tmp_path_factory.mktemp("exported") / "site"
    export_site(model_of("rgb"), folder)
    return folder


def with_metadata(model: bytes, contract: str | None) -> bytes:
    """The model with another contract, or none."""
    changed = onnx.load_model_from_string(model)
    del changed.metadata_props[:]
    if contract is not None:
        onnx.helper.set_model_props(changed, {METADATA_KEY: contract})
    return bytes(changed.SerializeToString())


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ("no contract", "its metadata has no polyexport.contract"),
        ("text", "not a whole ONNX model"),
        ("cut", "not a whole ONNX model"),
        ("changed", "its graph was changed"),
        ("version", "contract version 99"),
        ("incomplete", "its contract is incomplete"),
        ("not json", "its contract is not JSON"),
        ("golden", "golden sample differs by"),
        ("missing", "HTTP 404"),
        ("no runtime", "The runtime cannot be loaded"),
    ],
)
def test_a_model_that_cannot_be_used_is_a_message_and_no_blank_page(
    wrong: str,
    said: str,
    open_page: OpenPage,
    static_host: Callable[[Path], str],
    exported: Path,
    build_model: Callable[..., bytes],
    tmp_path: Path,
) -> None:
    shutil.copytree(exported, tmp_path / "site", copy_function=os.link)
    model = tmp_path / "site" / "model.onnx"
    data = model.read_bytes()
    model.unlink()
    black = base64.b64encode(encode_png(np.zeros((32, 32, 3), np.uint8))).decode()
    golden = GoldenSample(image_png=black, values=((90, 90, 90),), result_png=black)
    models = {
        "no contract": lambda: with_metadata(data, None),
        "text": lambda: b"This is not a model, and never was one.\n" * 9,
        "cut": lambda: data[:-100],
        "changed": lambda: data.replace(b"Cast", b"Tasc", 1),
        "version": lambda: with_metadata(data, '{"contract_version": 99}'),
        "incomplete": lambda: with_metadata(data, '{"contract_version": 2, "conditioning": "rgb"}'),
        "not json": lambda: with_metadata(data, "{"),
        "golden": lambda: build_model("rgb", golden=golden),
        "no runtime": lambda: data,
    }
    if wrong in models:
        model.write_bytes(models[wrong]())
    if wrong == "no runtime":
        (tmp_path / "site" / "runtime" / "ort.wasm.min.mjs").unlink()
    page = open_page(static_host(tmp_path / "site"), ready=False)
    page.tab.wait_for_selector("#message.bad")
    assert said in page.message
    assert page.tab.get_attribute("#message", "role") == "alert"
    assert page.message.count(". ") >= 1  # and what to do
    page.stroke((0.4, 0.4), (0.6, 0.6))  # the sheet and the flood fill go on
    page.tab.wait_for_timeout(100)
    assert pixels(page.canvas("flood")).min() < 255
    page.drop("notes.txt", b"no picture")
    page.tab.wait_for_selector("#file-message:visible")
    assert said in page.message  # neither hides the other
    page.complaints.clear()  # the browser's own, of a file that is not there


def test_a_color_that_is_none_changes_nothing(url: str, open_page: OpenPage) -> None:
    page = open_page(url)
    before = page.canvas("network")
    for text in ("no color", "transparent", "currentcolor", "#ff00ff80", ""):
        page.tab.fill("#color-text", text)
        assert page.tab.locator("#color-text:invalid").count() == 1
        assert "not a CSS color" in page.tab.inner_text("#color-message")
        page.settle()
        assert page.canvas("network") == before
    page.tab.fill("#color-text", "hsl(240 100% 50%)")
    page.settle()
    assert page.tab.input_value("#color") == "#0000ff"
    assert page.tab.inner_text("#color-message") == ""
    assert page.canvas("network") != before
    page.tab.click("#swatches >> [title='gold']")
    assert page.tab.input_value("#color") == "#ffd700"
    assert page.tab.get_attribute("#swatches >> [title='gold']", "aria-pressed") == "true"


def test_on_webgpu_it_is_the_same_picture(
    playwright: Any, chromium: str, serve: Serve, open_page: OpenPage, tiny_model_path: Path
) -> None:
    """On the software that stands in for a GPU, which the page itself would pass over."""
    flags = ["--no-sandbox", "--enable-unsafe-webgpu", "--use-webgpu-adapter=swiftshader"]
    features = "--enable-features=Vulkan,WebGPU"
    browser = playwright.chromium.launch(executable_path=chromium, args=[*flags, features])
    try:
        accept = (
            "if (globalThis.GPUAdapterInfo)"
            " Object.defineProperty(GPUAdapterInfo.prototype, 'isFallbackAdapter', { get: () => false });"
        )
        page = open_page(serve("--model", tiny_model_path), within=browser, script=accept)
        options = page.tab.locator("#way option").all_inner_texts()
        if options[0] != "GPU (WebGPU)":
            pytest.skip("this chromium has no WebGPU")
        assert page.message == ""
        on_gpu = pixels(page.canvas("network"))
        page.run_on(1)
        assert_same(on_gpu, pixels(page.canvas("network")), equal=0.999)
    finally:
        browser.close()


def test_a_gpu_that_fails_gives_way_to_the_cpu(url: str, open_page: OpenPage) -> None:
    broken = (
        "const adapter = { info: { isFallbackAdapter: false }, requestDevice: () => Promise.reject(new Error('x')) };"
        "Object.defineProperty(navigator, 'gpu', { value: { requestAdapter: async () => adapter } });"
    )
    page = open_page(url, script=broken)
    assert "GPU cannot run the network" in page.message
    assert "WASM" in page.tab.locator("#way option").all_inner_texts()[0]
    page.complaints.clear()
