"""The line of the user's code that an error of the exporter comes from, and the operator that it is about."""

import linecache
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch

from polyexport.errors import reason_of

__all__ = ["cause_of"]

_OURS = (Path(__file__).parents[2], Path(torch.__file__).parent, Path(torch.__file__).parent.parent / "onnxscript")
_STANDARD = Path(sysconfig.get_paths()["stdlib"])
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_FRAME = re.compile(r'File "([^"\n]+)", line ([0-9]+)')


def cause_of(error: BaseException) -> str:
    """Describe an error of the exporter: its innermost cause, and the line of the user's code that leads to it.

    Args:
        error: The error as it was caught, with its traceback.
    """
    chain = [error]
    while chain[-1].__cause__ is not None:
        chain.append(chain[-1].__cause__)
    root = chain[-1]
    operator = _OPERATOR.search(str(root))
    if operator:
        text = f"{operator[1]} has no counterpart in ONNX"
    elif type(root).__name__ == "GuardOnDataDependentSymNode":
        text = "a branch or a size depends on the values of a tensor"
    else:
        text = f"{type(root).__name__}: {reason_of(root).strip()}"
    places = [place for each in chain for place in _places(each)]
    return f"{text} ({places[-1]})" if places else text


def _places(error: BaseException) -> Iterator[str]:
    """Yield the lines of the user's code that an error passed, the innermost last."""
    trace = error.__traceback__
    while trace is not None:
        place = _place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        if place:
            yield place
        node = trace.tb_frame.f_locals.get("node")
        if isinstance(node, torch.fx.Node):  # the exporter's own frames end at the node that it translates
            for file, line in _FRAME.findall(str(node.meta.get("stack_trace", ""))):
                place = _place(file, int(line))
                if place:
                    yield place
        trace = trace.tb_next


def _place(file: str, line: int) -> str:
    path = Path(file)
    foreign = path.is_relative_to(_STANDARD) and "site-packages" not in path.parts
    if not path.is_file() or foreign or any(path.is_relative_to(folder) for folder in _OURS):
        return ""
    code = linecache.getline(file, line).strip()
    shown = path.relative_to(Path.cwd()) if path.is_relative_to(Path.cwd()) else path
    return f"{shown}, line {line}: {code[:80]}" if code else f"{shown}, line {line}"
