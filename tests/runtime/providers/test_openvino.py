"""OpenVINO's own runtime behind the same session as ONNX Runtime's."""

import importlib.util
import os
import subprocess
import sys
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path

import numpy as np
import onnx
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from onnx import external_data_helper, helper, numpy_helper

from polyexport.errors import ContractError, ProviderError
from polyexport.model.contract import COLORED
from polyexport.model.loading.load import load_model
from polyexport.model.model import Model
from polyexport.runtime.open import open_session
from polyexport.runtime.probe import probe_provider
from polyexport.runtime.provider import load_provider
from polyexport.runtime.providers.openvino import OpenVinoSession, _key, compile_options
from polyexport.runtime.session import Session, SessionOptions
from polyexport.storage.cache_folder import EntryFolder

if not importlib.util.find_spec("openvino"):  # not `importorskip`, which would import it with its telemetry
    pytest.skip("OpenVINO is not installed", allow_module_level=True)

OPENVINO = "OpenVINO"
EXACT = SessionOptions(provider="openvino", use_tf32=False)
Feeds = dict[str, NDArray[np.generic]]


def feeds(batch: int, side: int = 16) -> Feeds:
    rng = np.random.default_rng(batch)
    image = rng.integers(0, 256, (batch, side, side, 3), dtype=np.uint8)
    return {"image": image, "color": rng.integers(0, 256, (batch, 3), dtype=np.uint8)}


@pytest.fixture
def both(tiny_model_path: Path) -> tuple[Session, Session]:
    data = tiny_model_path.read_bytes()
    return open_session(data, EXACT), open_session(data, SessionOptions(provider="cpu"))


def test_it_equals_onnx_runtime_at_any_shape(both: tuple[Session, Session]) -> None:
    session, reference = both
    assert (session.execution_provider, session.fallback_reason) == (OPENVINO, "")
    assert not session.stable_shapes
    assert session.inputs == reference.inputs
    assert session.outputs == reference.outputs
    for batch, side in ((1, 16), (3, 16), (2, 32), (1, 16)):
        found, expected = (one.run(COLORED, feeds(batch, side)) for one in both)
        assert found.dtype == np.uint8
        assert found.shape == expected.shape == (batch, side, side, 3)
        difference = np.abs(found.astype(int) - expected)
        assert difference.max() <= 1
        assert np.mean(difference > 0) < 0.001


@pytest.fixture
def cache(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The folder of compiled models, which does not exist yet."""
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", str(tmp_path / "cache"))
    return tmp_path / "cache" / "compiled-models"


def test_a_kept_model_computes_the_same(tiny_model_path: Path, cache: Path) -> None:
    data, options = tiny_model_path.read_bytes(), replace(EXACT, cache=True)
    sessions = [open_session(data, one) for one in (EXACT, options, options)]
    assert [one.cache_note for one in sessions] == [
        "",
        f"compiled model kept in {cache}",
        f"compiled model taken from {cache}",
    ]
    assert len(list(cache.iterdir())) == 1
    for batch, side in ((1, 16), (3, 32), (2, 16)):
        first, *others = (one.run(COLORED, feeds(batch, side)) for one in sessions)
        assert all(np.array_equal(first, other) for other in others)
    assert sessions[2].inputs == sessions[0].inputs
    assert sessions[2].outputs == sessions[0].outputs
    assert sessions[2].placement() == sessions[0].placement()


def test_a_kept_model_is_compiled_anew_after_an_error(tiny_model_path: Path, cache: Path) -> None:
    data, options = tiny_model_path.read_bytes(), replace(EXACT, cache=True)
    open_session(data, options)
    session = open_session(data, options)
    expected = session.run(COLORED, feeds(1))
    for wrong in (feeds(1, 18), {**feeds(2), "color": feeds(1)["color"][0]}):
        with pytest.raises(Exception, match=r"\S"):
            session.run(COLORED, wrong)
        assert np.array_equal(session.run(COLORED, feeds(1)), expected)


def test_calls_beside_one_that_fails_stay_right(tiny_model_path: Path, cache: Path) -> None:
    data, options = tiny_model_path.read_bytes(), replace(EXACT, cache=True, threads=1, streams=3)
    expected = [open_session(data, options).run(COLORED, feeds(batch)) for batch in range(1, 5)]
    session = open_session(data, options)
    assert "taken from" in session.cache_note

    def right(batch: int) -> bool:
        return all(np.array_equal(session.run(COLORED, feeds(batch)), expected[batch - 1]) for _ in range(20))

    def wrong(side: int) -> bool:
        with pytest.raises(Exception, match=r"\S"):
            session.run(COLORED, feeds(1, side))
        return True

    with ThreadPoolExecutor(8) as pool:
        calls = [pool.submit(right, 1 + k % 4) for k in range(4)] + [pool.submit(wrong, 17 + k) for k in range(3)]
        assert all(call.result() for call in calls)


def test_other_options_are_another_entry(tiny_model_path: Path, cache: Path) -> None:
    data = tiny_model_path.read_bytes()
    for options in (SessionOptions(threads=1), SessionOptions(threads=2), SessionOptions(threads=1, streams=2)):
        open_session(data, replace(options, provider="openvino", cache=True))
    assert len(list(cache.iterdir())) == 3


def _valid_but_no_model(file: Path, data: bytes) -> None:
    EntryFolder(file.parent, max_bytes=1 << 30).write(_key(data, replace(EXACT, cache=True)), b"no compiled model")


@pytest.mark.parametrize(
    ("change", "note"),
    [
        (lambda file, data: file.write_bytes(file.read_bytes()[:-9]), "kept in"),
        (lambda file, data: file.write_bytes(b""), "kept in"),
        (_valid_but_no_model, "kept in"),
        (lambda file, data: file.chmod(0o666), "compiled without a cache: "),
        (lambda file, data: file.parent.chmod(0o777), "chmod 700"),
        (lambda file, data: file.unlink(), "kept in"),
    ],
)
def test_whatever_is_wrong_with_an_entry_the_run_goes_on(
    tiny_model_path: Path, cache: Path, change: Callable[[Path, bytes], object], note: str
) -> None:
    data, options = tiny_model_path.read_bytes(), replace(EXACT, cache=True)
    expected = open_session(data, options).run(COLORED, feeds(1))
    (file,) = cache.iterdir()
    change(file, data)
    session = open_session(data, options)
    assert note in session.cache_note
    assert np.array_equal(session.run(COLORED, feeds(1)), expected)
    if note == "kept in":
        assert "taken from" in open_session(data, options).cache_note


def test_a_cache_that_cannot_be_written_costs_a_note_alone(
    tiny_model_path: Path, cache: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, options = tiny_model_path.read_bytes(), replace(EXACT, cache=True)
    cache.parent.write_text("a file")
    session = open_session(data, options)
    assert session.cache_note.startswith("compiled ")
    assert session.run(COLORED, feeds(1)).shape == (1, 16, 16, 3)
    monkeypatch.setenv("POLYEXPORT_CACHE_DIR", "off")
    assert open_session(data, options).cache_note == "compiled without a cache: POLYEXPORT_CACHE_DIR is off"


def test_what_is_no_model_file_is_not_kept(tiny_model_path: Path, cache: Path) -> None:
    open_session(tiny_model_path.read_bytes(), EXACT)
    probe_provider.__wrapped__("openvino")
    assert not cache.exists()


def test_two_processes_at_once(tiny_model_path: Path, cache: Path) -> None:
    code = (
        "import sys; from polyexport.model.loading.load import load_model\n"
        "print(load_model(sys.argv[1], provider='openvino').session.cache_note)"
    )
    command = [sys.executable, "-c", code, str(tiny_model_path)]
    started = [subprocess.Popen(command, stdout=subprocess.PIPE, text=True) for _ in range(3)]
    notes = [process.communicate()[0] for process in started]
    assert all("compiled model " in note for note in notes)
    assert [path.suffix for path in cache.iterdir()] == [".entry"]


def test_a_missing_package_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    find = importlib.util.find_spec
    monkeypatch.setattr(importlib.util, "find_spec", lambda wanted: None if wanted == "openvino" else find(wanted))
    status = probe_provider.__wrapped__("openvino")
    assert (status.works, status.reason) == (False, "the package openvino is not installed")
    assert "polyexport[openvino]" in status.remedy


def test_bfloat16_is_a_format_only_where_the_cpu_has_it(monkeypatch: pytest.MonkeyPatch) -> None:
    for capabilities, formats in ((["FP32", "BF16"], {"float32", "int8", "bfloat16"}), (["FP32"], {"float32", "int8"})):
        monkeypatch.setattr("polyexport.runtime.providers.openvino._capabilities", lambda found=capabilities: found)
        assert set(load_provider("openvino").matmul_formats()) == formats


def test_results_are_new_arrays(both: tuple[Session, Session]) -> None:
    session = both[0]
    first = session.run(COLORED, feeds(1))
    kept = first.copy()
    session.run(COLORED, {**feeds(1), "color": np.array([[255, 255, 255]], np.uint8)})
    assert np.array_equal(first, kept)


def test_threads_do_not_disturb_each_other(tiny_model_path: Path) -> None:
    session = open_session(tiny_model_path.read_bytes(), SessionOptions(provider="openvino", streams=2, threads=1))
    expected = {batch: session.run(COLORED, feeds(batch)) for batch in (1, 2, 3, 4)}
    wrong: list[int] = []

    def work(batch: int) -> None:
        found = [session.run(COLORED, feeds(batch)) for _ in range(20)]
        wrong.extend(batch for one in found if not np.array_equal(one, expected[batch]))

    threads = [threading.Thread(target=work, args=(batch,)) for batch in expected]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert wrong == []


def test_the_graph_is_placed_whole(both: tuple[Session, Session]) -> None:
    placed = both[0].placement()
    assert list(placed) == [OPENVINO]
    assert placed[OPENVINO]["Convolution"] == both[1].placement()["CPUExecutionProvider"]["Conv"]


@pytest.mark.parametrize(
    ("options", "capabilities", "hint"),
    [
        (SessionOptions(), ["FP32", "BF16"], "bf16"),
        (SessionOptions(), ["FP32", "INT8"], "f32"),
        (SessionOptions(use_tf32=False), ["FP32", "BF16"], "f32"),
    ],
)
def test_it_multiplies_in_bfloat16_only_where_that_is_there_and_wanted(
    options: SessionOptions, capabilities: list[str], hint: str
) -> None:
    assert compile_options(options, capabilities)["INFERENCE_PRECISION_HINT"] == hint


def test_it_is_told_of_threads_and_streams(tiny_model_path: Path) -> None:
    options = SessionOptions(provider="openvino", streams=2, threads=1)
    assert compile_options(options, [])["NUM_STREAMS"] == compile_options(options, [])["INFERENCE_NUM_THREADS"] == 2
    session = OpenVinoSession(tiny_model_path.read_bytes(), options)
    assert session._compiled.model.get_property("NUM_STREAMS") == 2


def test_the_shipped_model_repeats_its_golden_sample(shipped_path: Path) -> None:
    model = load_model(shipped_path, provider="openvino", streams=2, threads=1)
    assert model.session.execution_provider == OPENVINO
    assert model.golden_difference < 0.1
    assert Model.from_bytes(shipped_path.read_bytes(), EXACT).golden_difference == 0


@pytest.mark.parametrize(("zero_point", "taken"), [(0, OPENVINO), (-1, "CPUExecutionProvider")])
def test_auto_leaves_graphs_alone_whose_integers_it_would_multiply_as_floats(zero_point: int, taken: str) -> None:
    nodes = [
        helper.make_node("QuantizeLinear", ["x", "step", "zero"], ["x_quantized"]),
        helper.make_node("DequantizeLinear", ["x_quantized", "step", "zero"], ["x_again"]),
        helper.make_node("DequantizeLinear", ["w", "w_step", "w_zero"], ["w_floats"], axis=0),
        helper.make_node("Conv", ["x_again", "w_floats"], ["y"], pads=[1, 1, 1, 1]),
    ]
    weights = {
        "step": np.float32(0.1),
        "zero": np.uint8(128),
        "w": np.random.default_rng(0).integers(-127, 128, (32, 32, 3, 3), dtype=np.int8),
        "w_step": np.full(32, 0.01, np.float32),
        "w_zero": np.full(32, zero_point, np.int8),
    }
    floats = [helper.make_tensor_value_info(name, onnx.TensorProto.FLOAT, [1, 32, 16, 16]) for name in "xy"]
    stored = [numpy_helper.from_array(np.asarray(value), name) for name, value in weights.items()]
    graph = helper.make_graph(nodes, "quantized", floats[:1], floats[1:], stored)
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 17)], ir_version=8).SerializeToString()
    session = open_session(model, SessionOptions(precision="int8"))
    assert session.execution_provider == taken
    assert ("8-bit weights" in session.fallback_reason) == (taken != OPENVINO)
    assert open_session(model, SessionOptions(provider="openvino", precision="int8")).execution_provider == OPENVINO


@pytest.mark.parametrize(("images", "taken"), [(0, OPENVINO), (1, "CPUExecutionProvider"), (1_000_000, OPENVINO)])
def test_auto_starts_it_only_for_as_many_images_as_pay_for_the_start(
    tiny_model_path: Path, images: int, taken: str
) -> None:
    session = load_model(tiny_model_path, images=images).session
    assert session.execution_provider == taken
    assert ("starts too slowly for so few images" in session.fallback_reason) == (taken != OPENVINO)
    assert load_model(tiny_model_path, provider="openvino", images=images).session.execution_provider == OPENVINO


def test_int64_inputs_are_taken(vocabulary_model: Model, vocabulary_checkpoint: Path) -> None:
    model = load_model(vocabulary_checkpoint.with_suffix(".onnx"), provider="openvino")
    image = np.full((1, 16, 16, 3), 255, np.uint8)
    assert np.abs(model.run(image, [2]).astype(int) - vocabulary_model.run(image, [2])).max() <= 2


@pytest.mark.parametrize(("streams", "threads"), [(1, 1), (1, 2), (2, 1)])
def test_a_wrong_input_is_an_error_and_the_session_lives_on(tiny_model_path: Path, streams: int, threads: int) -> None:
    """With one thread, OpenVINO itself would return the results of the last good call instead of an error."""
    options = SessionOptions(provider="openvino", streams=streams, threads=threads)
    session = open_session(tiny_model_path.read_bytes(), options)
    expected = session.run(COLORED, feeds(1))
    for wrong in (
        {"image": feeds(1)["image"], "colour": feeds(1)["color"]},
        {**feeds(1), "image": np.zeros((1, 15, 15, 3), np.uint8)},
        {**feeds(1), "color": np.zeros((2, 3), np.uint8)},
    ):
        with pytest.raises(RuntimeError):
            session.run(COLORED, wrong)
        assert np.array_equal(session.run(COLORED, feeds(1)), expected)


@pytest.mark.parametrize("threads", [1, 2])
def test_after_a_call_that_failed_within_the_graph_the_next_is_right(
    tiny_model_path: Path, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Memory that runs out has the same effect as the wrong shape that this test lets through."""
    session = open_session(tiny_model_path.read_bytes(), SessionOptions(provider="openvino", threads=threads))
    expected = session.run(COLORED, feeds(1))
    monkeypatch.setattr(OpenVinoSession, "_check_shapes", lambda session, feeds: None)
    with pytest.raises(RuntimeError):
        session.run(COLORED, {**feeds(1), "image": np.zeros((1, 15, 15, 3), np.uint8)})
    assert np.array_equal(session.run(COLORED, feeds(1)), expected)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.binary(max_size=200), kept=st.integers(0, 2000))
def test_damaged_bytes_are_refused(tiny_model_path: Path, data: bytes, kept: int) -> None:
    for damaged in (data, tiny_model_path.read_bytes()[:kept] + data):
        with pytest.raises((ContractError, ProviderError)):
            open_session(damaged, EXACT)


def test_an_operator_that_is_not_there_is_refused_in_one_line(relu_model: onnx.ModelProto) -> None:
    relu_model.graph.node[0].op_type = "NoSuchOperator"
    with pytest.raises(ContractError, match=r"OpenVINO can read: .*NoSuchOperator") as refused:
        open_session(relu_model.SerializeToString(), EXACT)
    assert "\n" not in str(refused.value)


def test_external_data_is_refused(relu_model: onnx.ModelProto) -> None:
    tensor = numpy_helper.from_array(np.zeros(4, np.float32), "w")
    external_data_helper.set_external_data(tensor, "secret.bin")
    tensor.ClearField("raw_data")
    relu_model.graph.initializer.append(tensor)
    with pytest.raises(ContractError, match="other files"):
        open_session(relu_model.SerializeToString(), EXACT)


def test_nothing_is_sent_anywhere(tiny_model_path: Path, tmp_path: Path) -> None:
    """Importing OpenVINO's package would send an event from a child process, and write files into the user's home."""
    code = (
        "import sys\n"
        "seen = []\n"
        "names = ('socket.', 'urllib', 'subprocess.', 'os.fork', 'os.exec', 'os.posix_spawn')\n"
        "sys.addaudithook(lambda event, arguments: event.startswith(names) and seen.append((event, arguments)))\n"
        "from polyexport.model.loading.load import load_model\n"
        "model = load_model(sys.argv[1], provider='openvino')\n"
        "model.colorize([__import__('numpy').zeros((16, 16, 3), 'uint8')], ['red'])\n"
        "assert 'openvino' in sys.modules\n"
        "assert not seen, seen\n"
        "assert 'openvino_telemetry' not in sys.modules"
    )
    home = {**os.environ, "HOME": str(tmp_path), "CI": ""}
    subprocess.run([sys.executable, "-c", code, str(tiny_model_path)], check=True, env=home)
    assert not (tmp_path / "intel").exists()


def test_calls_that_overlap_with_one_that_gives_its_memory_back_stay_right(tiny_model_path: Path) -> None:
    session = open_session(
        tiny_model_path.read_bytes(), SessionOptions(provider="openvino", streams=2, releases_memory=True)
    )
    large = {"image": np.zeros((1, 1056, 1056, 3), np.uint8), "color": np.zeros((1, 3), np.uint8)}
    expected = session.run(COLORED, large), session.run(COLORED, feeds(1))
    found: list[bool] = []

    def call(wanted: Feeds, result: NDArray[np.generic], times: int) -> None:
        found.extend(np.array_equal(session.run(COLORED, wanted), result) for _ in range(times))

    threads = [
        threading.Thread(target=call, args=(large, expected[0], 3)),
        threading.Thread(target=call, args=(feeds(1), expected[1], 60)),
    ]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == [True] * 63
