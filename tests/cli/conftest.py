"""Commands run as users run them: a process of their own, with its streams, working folder and exit code."""

import subprocess
from collections.abc import Callable
from pathlib import Path

import pytest

Cli = Callable[..., subprocess.CompletedProcess[str]]


@pytest.fixture
def cli(program: str, tmp_path: Path) -> Cli:
    def run(*arguments: object, check: int | None = None, stdin: str = "") -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [program, *map(str, arguments)],
            cwd=tmp_path,
            input=stdin,
            capture_output=True,
            text=True,
            timeout=300,
        )
        if check is not None:
            assert done.returncode == check, done.stderr
        assert "Traceback" not in done.stderr
        return done

    return run


@pytest.fixture
def refused(cli: Cli) -> Callable[..., str]:
    """Run a command that must fail; its error is one line, with a remedy, and nothing on stdout."""

    def run(exit_code: int, *arguments: object) -> str:
        done = cli(*arguments, check=exit_code)
        errors = [line for line in done.stderr.splitlines() if line.startswith("error: ")]
        assert len(errors) == 1
        assert "; " in errors[0]
        assert done.stdout == ""
        return errors[0]

    return run
