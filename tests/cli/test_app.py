import subprocess
import sys
from importlib import import_module

import pytest

from polyexport.cli.app import COMMANDS


@pytest.mark.parametrize("name", COMMANDS)
def test_a_summary_is_the_first_line_of_its_command(name: str) -> None:
    command = getattr(import_module(f"polyexport.cli.{name}"), name)
    assert command.__doc__.splitlines()[0] == COMMANDS[name]


@pytest.mark.parametrize(
    ("arguments", "loaded"),
    [((), []), (("--help",), []), (("infer", "--help"), ["infer"]), (("--", "bench", "--help"), ["bench"])],
)
def test_only_the_command_that_runs_is_imported(arguments: tuple[str, ...], loaded: list[str]) -> None:
    code = (
        "import atexit, sys\n"
        "from polyexport.cli.app import COMMANDS\n"
        "from polyexport.cli.main import main\n"
        "atexit.register(lambda: print([name for name in COMMANDS if f'polyexport.cli.{name}' in sys.modules]))\n"
        "main()"
    )
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True)
    assert done.stdout.splitlines()[-1] == str(loaded)
    assert f"Usage: -c {' '.join(loaded)}".rstrip() in done.stdout + done.stderr
