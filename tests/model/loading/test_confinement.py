import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest
from hostile_models import HOSTILE_GRAPHS

from polyexport.errors import ContractError, PolyexportError
from polyexport.model.loading import confinement
from polyexport.model.loading.confinement import run_confined
from polyexport.model.loading.limits import DEFAULT_LIMITS, GrantedLimits

GOOD = Path(__file__).parents[2] / "files_of_0_1_0" / "rgb.onnx"
LIMITS = GrantedLimits(seconds=5, memory_mib=300)


@pytest.fixture
def worker(monkeypatch: pytest.MonkeyPatch) -> "type[_Worker]":
    return type("Worker", (_Worker,), {"monkeypatch": monkeypatch})


class _Worker:
    """The process of the check with another program."""

    monkeypatch: pytest.MonkeyPatch

    @classmethod
    def runs(cls, code: str) -> None:
        cls.monkeypatch.setattr(confinement, "_WORKER_CODE", code)


def test_a_good_file_passes() -> None:
    assert run_confined("check", GOOD.read_bytes(), LIMITS) == {}
    found = run_confined("inspect", GOOD.read_bytes(), DEFAULT_LIMITS.granted(GOOD.stat().st_size))
    assert found["nodes"]["Conv"] == 11


@pytest.mark.parametrize(
    ("code", "said"),
    [
        ("import os; os.abort()", r"crashed with SIGABRT, with 300 MiB of memory for the model; --max-model-memory"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "crashed with SIGSEGV"),
        ("import os, signal; os.kill(os.getpid(), 40)", "crashed with signal 40"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGKILL)", "crashed with SIGKILL"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGPROF)", "more than 5 s of processor time; --load-timeout"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGXCPU)", "more than 5 s of processor time; --load-timeout"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGALRM)", "more than 75 s on the clock; --load-timeout"),
        ("pass", "ended without an answer"),
        ("raise MemoryError", "ended without an answer"),
        ("print('[')", "ended without an answer"),
        ("print('[]')", "ended without an answer"),
        ("print('{}')", "ended without an answer"),
        ('print(\'{"state": "done"}\')', "ended without an answer"),
        ("import sys; sys.stdout.write('x' * (5 << 20))", "ended without an answer"),
        ('print(\'{"state": "refused", "message": "no", "remedy": "none"}\')', "^no; none$"),
    ],
)
def test_however_the_process_ends_the_file_is_refused(code: str, said: str, worker: type[_Worker]) -> None:
    worker.runs(code)
    with pytest.raises(ContractError, match=said):
        run_confined("check", b"x" * (1 << 20), LIMITS)


def test_a_process_that_hangs_is_ended_with_what_it_started(worker: type[_Worker], tmp_path: Path) -> None:
    code = (
        f"import subprocess, sys; child = subprocess.Popen(['sleep', '600']); "
        f"open({str(tmp_path / 'pid')!r}, 'w').write(str(child.pid)); child.wait()"
    )
    worker.runs(code)
    with pytest.raises(ContractError, match=r"more than 3 s on the clock; --load-timeout raises"):
        run_confined("check", b"", GrantedLimits(seconds=0.2, memory_mib=300))
    _assert_gone(int((tmp_path / "pid").read_text()))


def _assert_gone(pid: int) -> None:
    for _ in range(500):
        try:
            state = Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]
        except OSError:
            return
        if state == "Z":  # whoever adopted it has not asked for its end yet
            return
        time.sleep(0.01)
    pytest.fail(f"process {pid} still runs")


def test_ctrl_c_ends_both(tmp_path: Path) -> None:
    """While the process computes, the interrupt goes to its parent alone."""
    hostile = tmp_path / "hostile.onnx"
    hostile.write_bytes(HOSTILE_GRAPHS["matrix_products"](GOOD.read_bytes()))
    command = [sys.executable, "-m", "polyexport.cli.main", "verify", str(hostile), "--load-timeout", "600"]
    with subprocess.Popen(command, stderr=subprocess.PIPE, env=os.environ, start_new_session=True) as process:
        child = _child_of(process.pid)
        process.send_signal(signal.SIGINT)
        assert process.stderr is not None
        assert process.stderr.read() == b"interrupted\n"
        assert process.wait() == 130
    _assert_gone(child)


def _child_of(pid: int) -> int:
    for _ in range(6000):
        children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
        if children:
            return int(children[0])
        time.sleep(0.01)
    pytest.fail("no process was started to check the model")


def test_the_memory_limit_is_beyond_what_the_process_has_before_the_graph() -> None:
    """A model of 10 KB needs nearly nothing, however large Python and ONNX Runtime are on this machine."""
    assert run_confined("check", GOOD.read_bytes(), GrantedLimits(seconds=5, memory_mib=32)) == {}


def test_no_interpreter_is_an_error_of_its_own(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "executable", "/missing/python")
    with pytest.raises(PolyexportError, match="cannot start a process to check the model") as caught:
        run_confined("check", b"", LIMITS)
    assert not isinstance(caught.value, ContractError)


def test_neither_the_folder_nor_the_environment_decides_what_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "json.py").write_text("raise SystemExit(9)")
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("PYTHONPATH", str(tmp_path))
    assert run_confined("check", GOOD.read_bytes(), LIMITS) == {}


def test_it_works_in_another_thread() -> None:
    answers: list[object] = []
    thread = threading.Thread(target=lambda: answers.append(run_confined("check", GOOD.read_bytes(), LIMITS)))
    thread.start()
    thread.join()
    assert answers == [{}]
