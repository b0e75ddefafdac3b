"""What stands between this process and Ray."""

import sys
import threading

import pytest

from polyexport.cluster.connection import _stdout_of_this_thread


def test_only_this_thread_writes_to_stdout_and_it_is_still_a_stream(capfd: pytest.CaptureFixture[str]) -> None:
    real = sys.stdout
    with _stdout_of_this_thread():
        sys.stdout.write("ours\n")
        other = threading.Thread(target=lambda: sys.stdout.write("theirs\n"))
        other.start()
        other.join()
        sys.stdout.flush()
        assert sys.stdout.isatty() is False
        assert sys.stdout.fileno() == real.fileno()  # what the console asks for when its reader has gone
    assert sys.stdout is real
    assert capfd.readouterr().out == "ours\n"
