import os
import signal
import sys
import threading
import time
from pathlib import Path

import pytest

from polyexport.bench.process import run_process
from polyexport.errors import PolyexportError


def python(code: str) -> list[str]:
    return [sys.executable, "-c", code]


def test_time_and_exit_code() -> None:
    ran = run_process(python("sum(range(3_000_000))"), timeout_s=60)
    assert ran.exit_code == 0
    assert 0 < ran.cpu_s <= 2 * ran.wall_s * (os.cpu_count() or 1)
    assert run_process(python("raise SystemExit(3)"), timeout_s=60, accepted=(0, 3)).exit_code == 3


def test_the_cpu_time_of_children_counts() -> None:
    busy = "import time\nwhile time.process_time() < 0.3: pass"
    code = f"import subprocess, sys; subprocess.run([sys.executable, '-c', {busy!r}])"
    assert run_process(python(code), timeout_s=60).cpu_s >= 0.3


@pytest.mark.parametrize(
    ("code", "told"),
    [
        ("import sys; print('a\\n\\nlast line\\n', file=sys.stderr); sys.exit(4)", "exit code 4: last line;"),
        ("raise SystemExit(1)", "exit code 1;"),
        ("import os, signal; os.kill(os.getpid(), signal.SIGSEGV)", "signal SIGSEGV;"),
        ("import sys; sys.stderr.buffer.write(b'\\xff\\x1b[31m' + b'x' * 9000); sys.exit(1)", "exit code 1: xxx"),
    ],
)
def test_failures_are_one_line_with_a_remedy(code: str, told: str) -> None:
    with pytest.raises(PolyexportError) as failure:
        run_process(python(code), timeout_s=60)
    text = str(failure.value)
    assert told in text
    assert text.isprintable()
    assert len(text) < 400
    assert failure.value.remedy


def test_a_program_that_cannot_be_started(tmp_path: Path) -> None:
    with pytest.raises(PolyexportError, match="cannot be started \\(No such file"):
        run_process([str(tmp_path / "missing")], timeout_s=1)
    with pytest.raises(PolyexportError, match="cannot be started \\(embedded null byte"):
        run_process(["a\0b"], timeout_s=1)


def test_one_that_hangs_is_ended_with_all_that_it_started(tmp_path: Path) -> None:
    child = f"import time, pathlib; time.sleep(2); pathlib.Path({str(tmp_path / 'alive')!r}).touch()"
    code = f"import subprocess, sys, time; subprocess.Popen([sys.executable, '-c', {child!r}]); time.sleep(60)"
    started = time.perf_counter()
    with pytest.raises(PolyexportError, match="did not end within 1 s.*--compare-timeout"):
        run_process(python(code), timeout_s=1)
    assert time.perf_counter() - started < 30
    time.sleep(1.8)
    assert not (tmp_path / "alive").exists()


def test_an_interrupt_ends_it() -> None:
    threading.Timer(0.5, signal.raise_signal, [signal.SIGINT]).start()
    started = time.perf_counter()
    with pytest.raises(KeyboardInterrupt):
        run_process(python("import time; time.sleep(60)"), timeout_s=60)
    assert time.perf_counter() - started < 30
