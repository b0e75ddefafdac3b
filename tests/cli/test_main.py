"""The entry point: signals that arrive at an awkward moment."""

import resource
import subprocess
import sys
from pathlib import Path

import pytest

_SIGNAL_IN_A_CALLBACK = """
import os, signal, time, weakref
import polyexport.cli.main as main

class Referent: pass

def run():
    try:
        referent = Referent()
        reference = weakref.ref(referent, lambda _: (os.kill(os.getpid(), signal.SIGTERM), time.sleep(0.05)))
        del referent
        time.sleep(30)
    except main.Stopped as stopped:
        return int(stopped.exit_code)

main._run = run
main.main()
"""


def test_a_signal_in_a_callback_of_a_weak_reference_still_ends_the_command() -> None:
    done = subprocess.run([sys.executable, "-c", _SIGNAL_IN_A_CALLBACK], capture_output=True, text=True, timeout=25)
    assert (done.returncode, done.stderr) == (143, "")


@pytest.mark.skipif(sys.platform != "linux", reason="only Linux keeps to a limit of the address space")
@pytest.mark.parametrize(("mebibytes", "exit_codes"), [(250, {1, 3}), (1900, {0})])
def test_a_small_address_space_suffices_or_is_named(
    tmp_path: Path, drawings: Path, shipped_path: Path, mebibytes: int, exit_codes: set[int]
) -> None:
    size = mebibytes * 1024**2
    command = [sys.executable, "-m", "polyexport.cli.main", "infer", str(drawings / "0.png"), "-c", "red"]
    command += ["-m", str(shipped_path), "-o", str(tmp_path / "out"), "--provider", "cpu", "--threads", "1", "-q"]
    done = subprocess.run(
        command,
        capture_output=True,
        text=True,
        preexec_fn=lambda: resource.setrlimit(resource.RLIMIT_AS, (size, size)),
        timeout=100,
    )
    assert done.returncode in exit_codes, done.stderr
    assert done.returncode == 0 or "memory ran out while" in done.stderr.splitlines()[-1]
    assert "internal error" not in done.stderr
    assert "Traceback" not in done.stderr


_BLAMED = """
import polyexport.cli.app, polyexport.cli.main as main
from polyexport.errors import ModelError, OutputError

def fail(loaded):
    try:
        raise {cause}
    except Exception as error:
        raise {error}("it is wrong", remedy="mend it") from error

polyexport.cli.app.make_app = fail
main.main()
"""


@pytest.mark.parametrize(
    ("error", "cause", "exit_code", "message"),
    [
        ("ModelError", "MemoryError()", 1, "error: memory ran out while running polyexport"),
        ("ModelError", "RuntimeError('std::bad_alloc')", 1, "error: memory ran out while running polyexport"),
        ("ModelError", "RuntimeError('no such operator')", 4, "error: it is wrong; mend it"),
        ("OutputError", "BlockingIOError(11, 'locked')", 5, "error: it is wrong; mend it"),
    ],
)
def test_a_lack_of_memory_is_not_blamed_on_the_file(error: str, cause: str, exit_code: int, message: str) -> None:
    code = _BLAMED.format(error=error, cause=cause)
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.startswith(message)) == (exit_code, True), done.stderr


_NATIVE_FAILURE = """
import resource, sys
import polyexport.cli.app, polyexport.cli.main as main

def fail(loaded):
    raise SystemError("error return without exception set")

polyexport.cli.app.make_app = fail
if sys.argv[1] == "limited":
    resource.setrlimit(resource.RLIMIT_AS, (1 << 30, 1 << 30))
main.main()
"""


@pytest.mark.parametrize(("limit", "message"), [("limited", "error: memory ran out"), ("free", "internal error: ")])
def test_a_native_module_that_fails_without_a_word_lacks_memory_only_under_a_limit(limit: str, message: str) -> None:
    done = subprocess.run([sys.executable, "-c", _NATIVE_FAILURE, limit], capture_output=True, text=True, timeout=60)
    assert (done.returncode, done.stderr.startswith(message)) == (1, True), done.stderr


@pytest.mark.parametrize("package", ["fontTools", "fonticon_mdi7", "lucide", "svgelements"])
def test_a_missing_package_of_the_drawings_is_named_by_its_extra(tmp_path: Path, package: str) -> None:
    code = (
        f"import sys; sys.modules[{package!r}] = None\n"
        f"sys.argv = ['polyexport', 'dataset', {str(tmp_path / 'set')!r}, '--split', 'details', '--split', 'glyphs', "
        "'--count', '6', '--size', '32']\n"
        "import polyexport.cli.main as main; main.main()"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert done.returncode == 1
    said = "error: this command needs more packages; install them with pip install 'polyexport[drawings]'"
    assert done.stderr.splitlines()[-1] == said
    assert not (tmp_path / "set").exists()


_PROGRAM = """
import atexit, sys
import polyexport.cli.main as main

def run():
    atexit.register(lambda: print("the last words", "." * {length}))
    return {code}

class Heavy:
    def __del__(self):
        print("taken down")

sys.modules["heavy"] = Heavy()
main._run = run
main.program()
"""


@pytest.mark.parametrize("code", [0, 4, 130])
def test_a_program_ends_with_its_code_when_all_exit_functions_have_run(code: int) -> None:
    script = _PROGRAM.format(code=code, length=100_000)
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (code, "")
    assert done.stdout == f"the last words {'.' * 100_000}\n"


def test_a_program_whose_last_output_is_lost_says_so() -> None:
    script = "import polyexport.cli.main as main\nmain._run = lambda: bool(print('result'))\nmain.program()"
    with Path("/dev/full").open("w") as full:
        done = subprocess.run([sys.executable, "-c", script], stdout=full, stderr=subprocess.PIPE, text=True, env={})
    assert done.returncode == 120
    assert "No space left on device" in done.stderr


def test_a_program_without_streams_ends_with_its_code() -> None:
    script = _PROGRAM.replace("print(", "bool(").format(code=5, length=1)
    done = subprocess.run(["/bin/sh", "-c", 'exec "$0" -c "$1" >&- 2>&-', sys.executable, script])
    assert done.returncode == 5
