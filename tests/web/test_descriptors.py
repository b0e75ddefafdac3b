"""File descriptors that are left, with limits that a process of the test has."""

import subprocess
import sys

import pytest

resource = pytest.importorskip("resource")

CODE = """
import resource, sys
from polyexport.errors import UsageError
from polyexport.web.descriptors import free_descriptors
resource.setrlimit(resource.RLIMIT_NOFILE, tuple(map(int, sys.argv[1:3])))
try:
    print(free_descriptors(100), *resource.getrlimit(resource.RLIMIT_NOFILE))
except UsageError as error:
    print(error)
"""


def ask(soft: int, hard: int) -> str:
    command = [sys.executable, "-c", CODE, str(soft), str(hard)]
    return subprocess.run(command, capture_output=True, check=True, text=True).stdout.strip()


def test_the_limit_is_raised_as_far_as_it_may_be() -> None:
    free, soft, hard = map(int, ask(20, 200).split())
    assert (free, hard) == (100, 200)
    assert 100 < soft < 200
    assert ask(150, 200) == "100 150 200"


def test_a_hard_limit_leaves_fewer() -> None:
    free, soft, _ = map(int, ask(40, 60).split())
    assert (45 < free < 60, soft) == (True, 60)


def test_too_few_are_an_error() -> None:
    said = ask(30, 30)
    assert said.startswith("this process may open 30 files at a time")
    assert said.endswith("raise the limit with ulimit -n")
