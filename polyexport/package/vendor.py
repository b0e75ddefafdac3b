"""The project's own modules that the script of a package needs, found by reading imports.

A package runs on machines without polyexport. Its folder therefore carries a copy of every module that its entry module
imports, directly or through others. The list is computed when a package is written, so a package never lacks a module
and never holds an old version of one.
"""

import ast
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

__all__ = ["vendored_modules"]


def vendored_modules(entries: Sequence[str], *, root: Path) -> dict[str, bytes]:
    """Collect the source files that importing some modules of a project may read.

    Imports are followed wherever they stand in a file, also inside functions, except under ``if TYPE_CHECKING:``.
    The packages above a module count as imported. Imports from outside of ``root`` are not followed.

    Args:
        entries: Dotted names of the modules to start from. A module that is only imported by a name made at run time,
            such as a row of a registry, has to be listed here.
        root: The folder that holds the top-level package of the project.

    Returns:
        Path relative to ``root``, with ``/`` -> the bytes of the file, sorted by path.

    Raises:
        ValueError: An entry is not a module below ``root``.
    """
    found: dict[str, Path] = {}
    waiting = list(entries)
    for name in entries:
        if _source_of(name, root) is None:
            raise ValueError(f"{name} is not a module below {root}")
    while waiting:
        name = waiting.pop()
        file = _source_of(name, root)
        if file is None or name in found:
            continue
        found[name] = file
        waiting.extend(_parents(name))
        waiting.extend(_imports(ast.parse(file.read_bytes(), str(file))))
    return {file.relative_to(root).as_posix(): file.read_bytes() for file in sorted(found.values())}


def _source_of(module: str, root: Path) -> Path | None:
    """Return the source file of a module, or of the ``__init__`` of a package; None if ``root`` has none."""
    path = root.joinpath(*module.split("."))
    return next((file for file in (path.with_suffix(".py"), path / "__init__.py") if file.is_file()), None)


def _parents(module: str) -> Iterator[str]:
    parts = module.split(".")
    return (".".join(parts[:length]) for length in range(1, len(parts)))


def _imports(tree: ast.AST) -> Iterator[str]:
    """Yield the dotted name of everything that a file imports; a name imported from a module may be a module itself."""
    for node in _run_time_nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module
            yield from (f"{node.module}.{alias.name}" for alias in node.names)


def _run_time_nodes(node: ast.AST) -> Iterator[ast.AST]:
    yield node
    children: Iterable[ast.AST] = ast.iter_child_nodes(node)
    if isinstance(node, ast.If) and ast.unparse(node.test).endswith("TYPE_CHECKING"):
        children = node.orelse
    for child in children:
        yield from _run_time_nodes(child)
