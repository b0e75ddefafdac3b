"""Color outline drawings with the model beside this file. It needs the packages of requirements.txt, nothing else.

    python run.py drawing.png --color red --color "#1e90ff" -o colored

Outputs are PNG files, DIR/COLOR/NAME.png, at the size of their inputs. Before the first drawing the model's SHA-256 is
compared with SHA256SUMS beside it, and the golden sample in its metadata is repeated. Exit codes: 0 all done, 1 fatal,
2 usage, 3 some drawings failed, 4 model refused, 5 output unusable, 6 execution provider unavailable, 130 and 143
interrupted and terminated.

A package holds this file as ``run.py``. Everything that it does is in ``runtime_modules``, a copy of the modules of
polyexport that it needs.
"""

import importlib
import signal
import sys
from pathlib import Path

_TERMINATED = 143


def _main() -> int:
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(_TERMINATED))
    folder = Path(__file__).parent
    sys.dont_write_bytecode = True  # the package holds nothing but what SHA256SUMS lists
    sys.path.insert(0, str(folder / "runtime_modules"))
    try:
        # polyexport is first: it turns the telemetry of ONNX Runtime off before that is imported.
        for package in ("polyexport", "numpy", "onnxruntime", "PIL"):
            importlib.import_module(package)
    except ImportError as missing:
        sys.exit(f"error: {missing.name or missing} cannot be imported; pip install -r requirements.txt")
    from polyexport.package.runner import main

    return main(folder)


if __name__ == "__main__":
    sys.exit(_main())
