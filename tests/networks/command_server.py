"""The command ``polyexport`` for tests: its process is forked from a server that has imported the large packages.

Importing torch, lightning and the like anew for each of some hundred commands takes minutes. Of polyexport, nothing is
imported before the fork but what ``polyexport --help`` imports. A plugin of pytest.
"""

import contextlib
import socket
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

_SERVER = """
import atexit, gc, json, os, socket, sys, threading
import polyexport, polyexport.cli.main  # which sets ONNX Runtime's telemetry off before it is imported
import lightning, matplotlib.pyplot, onnx, onnxruntime, onnxscript, onnxsim, scipy.ndimage, skimage, torch

gc.freeze()  # a collection in a child would copy the memory that it shares with this process
listener = socket.socket(fileno=int(sys.argv[1]))
while True:
    with listener.accept()[0] as client:
        request, streams, _, _ = socket.recv_fds(client, 2**20, 3)
        if not request:  # the end
            break
        child = os.fork()
        if not child:
            client.close()
            listener.close()
            for number, stream in enumerate(streams):
                os.dup2(stream, number)
                os.close(stream)
            arguments, folder, environment = json.loads(request)
            os.chdir(folder)
            os.environ.clear()
            os.environ.update(environment)
            sys.path[:0] = [folder, *filter(None, environment.get("PYTHONPATH", "").split(os.pathsep))]
            sys.argv = [sys.argv[2], *arguments]
            try:
                polyexport.cli.main.main()
            except SystemExit as end:
                threading._shutdown()
                atexit._run_exitfuncs()
                sys.stdout.flush()
                sys.stderr.flush()
                os._exit(end.code)  # without taking the packages down, which takes seconds
        for stream in streams:
            os.close(stream)
        client.sendall(b"%d" % (os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) % 256))
listener.close()
"""

_CLIENT = """#!{python} -IS
import json, os, socket, sys
with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as server:
    server.connect({address!r})
    request = json.dumps([sys.argv[1:], os.getcwd(), dict(os.environ) | {{"NO_COLOR": "1"}}])
    socket.send_fds(server, [request.encode()], [0, 1, 2])
    sys.exit(int(server.recv(64)))
"""


@pytest.fixture(scope="session")
def program(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """Path of an executable ``polyexport``, in a folder of its own. One runs at a time."""

    folder = tmp_path_factory.mktemp("bin")
    address = str(folder / "server")
    with contextlib.ExitStack() as stack:
        listener = stack.enter_context(socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET))
        listener.bind(address)
        listener.listen()
        number = listener.fileno()
        installed = str(Path(sys.executable).with_name("polyexport"))  # trainings on several devices start it again
        server = stack.enter_context(
            subprocess.Popen(
                [sys.executable, "-W", "error", "-c", _SERVER, str(number), installed],
                pass_fds=(number,),
                stdin=subprocess.DEVNULL,
            )
        )
        executable = folder / "polyexport"
        executable.write_text(_CLIENT.format(python=sys.executable, address=address))
        executable.chmod(0o755)
        yield str(executable)
        with socket.socket(socket.AF_UNIX, socket.SOCK_SEQPACKET) as last:
            last.connect(address)
        assert server.wait(10) == 0
