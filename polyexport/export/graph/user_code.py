"""The line of the user's code that an error of the exporter comes from, and the operator that it is about."""

import linecache
import re
import sysconfig
from collections.abc import Iterator
from pathlib import Path

import torch

from polyexport.errors import reason_of

__all__ = ["cause_of"]

_TOOLS = ("torch", "onnx", "onnx_ir", "onnxscript")
_OURS = (Path(__file__).parents[2], *(Path(torch.__file__).parents[1] / name for name in _TOOLS))
_LIBRARIES = "site-packages"
_STANDARD = Path(sysconfig.get_paths()["stdlib"])
_OPERATOR = re.compile(r"No ONNX function found for <OpOverload\(op='([\w.]+)'")
_FRAME = re.compile(r'File "([^"\n]+)", line ([0-9]+)')


def cause_of(error: BaseException) -> str:
    """Describe an error of the exporter: its innermost cause, and the line of the user's code that leads to it.

    Where no line of the user's leads to it, it is that of an installed library, such as one of networks.

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
    places = [place for place in places if _LIBRARIES not in place[0].parts] or places
    return f"{text} ({_named(*places[-1])})" if places else text


def _places(error: BaseException) -> Iterator[tuple[Path, int]]:
    """Yield the files and lines that an error passed, the innermost last, without those of the exporter."""
    trace = error.__traceback__
    while trace is not None:
        yield from _place(trace.tb_frame.f_code.co_filename, trace.tb_lineno)
        node = trace.tb_frame.f_locals.get("node")
        if isinstance(node, torch.fx.Node):  # the exporter's own frames end at the node that it translates
            for file, line in _FRAME.findall(str(node.meta.get("stack_trace", ""))):
                yield from _place(file, int(line))
        trace = trace.tb_next


def _place(file: str, line: int) -> Iterator[tuple[Path, int]]:
    path = Path(file)
    standard = path.is_relative_to(_STANDARD) and _LIBRARIES not in path.parts
    if path.is_file() and not standard and not any(path.is_relative_to(folder) for folder in _OURS):
        yield path, line


def _named(path: Path, line: int) -> str:
    code = linecache.getline(str(path), line).strip()
    if _LIBRARIES in path.parts:
        path = Path(*path.parts[path.parts.index(_LIBRARIES) + 1 :])
    elif path.is_relative_to(Path.cwd()):
        path = path.relative_to(Path.cwd())
    return f"{path}, line {line}: {code[:80]}" if code else f"{path}, line {line}"
