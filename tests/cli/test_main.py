"""The entry point: signals that arrive at an awkward moment."""

import subprocess
import sys

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
