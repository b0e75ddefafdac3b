"""The rooms of the code, and which of them may import which: read from every import statement, also those in functions.

``LAYERS`` goes from the lowest floor to the highest. A room imports from the floors below its own and from itself.
``SIDEWAYS`` names the imports between rooms of one floor, each with its reason. ``trainer`` stands beside the house.
"""

import ast
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[1]

LAYERS: tuple[frozenset[str], ...] = (
    frozenset(("errors",)),
    frozenset(("storage",)),
    frozenset(("imaging",)),
    frozenset(("runtime",)),
    frozenset(("model", "data", "modelfile")),
    frozenset(("report",)),
    frozenset(("export", "pipeline", "evaluate", "bench", "package", "passport")),
    frozenset(("web",)),
    frozenset(("service", "cluster", "demo")),
    frozenset(("cli",)),
)

SIDEWAYS: Mapping[tuple[str, str], str] = {
    ("bench", "pipeline"): "bench measures whole runs, from files to files",
    ("bench", "export.source"): "bench --compare runs the PyTorch model that a model file was exported from",
    ("bench", "evaluate"): "the frontier draws fidelity against speed",
    ("export", "evaluate"): "a contract carries the scores of its model, and precision gates are in the same decibels",
}

MAX_LINES = 400

TRAINER_IMPORTS = frozenset(("errors", "storage", "imaging", "data"))
IMPORTS_TRAINER = frozenset(("polyexport.cli.train", "polyexport.export.source"))


@dataclass(frozen=True, slots=True)
class Import:
    """One imported module or name."""

    module: str
    """Dotted name of the module that imports."""

    target: str
    """Dotted name of the imported module."""

    name: str
    """The name that is imported from it; empty for the module itself."""

    line: int


@dataclass(frozen=True, slots=True)
class Source:
    """One module of the source tree, parsed."""

    module: str
    tree: ast.Module

    def defined(self) -> frozenset[str]:
        """Names that the module binds at its top level by itself, not by importing them."""
        return _defined(self.tree)

    def imports(self) -> Sequence[ast.Import | ast.ImportFrom]:
        """Import statements of the module, wherever they stand in it."""
        return _imports(self.tree)

    def exported(self) -> set[str]:
        """The names in ``__all__``."""
        for node in self.tree.body:
            if isinstance(node, ast.Assign) and any(
                isinstance(target, ast.Name) and target.id == "__all__" for target in node.targets
            ):
                return set(ast.literal_eval(node.value))
        return set()


def _top_level(body: Sequence[ast.stmt]) -> Iterator[ast.stmt]:
    for node in body:
        yield node
        if isinstance(node, ast.If | ast.Try | ast.With):
            yield from _top_level([child for child in ast.iter_child_nodes(node) if isinstance(child, ast.stmt)])


@cache
def _defined(tree: ast.Module) -> frozenset[str]:
    names: set[str] = set()
    for node in _top_level(tree.body):
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            names.add(node.name)
        elif isinstance(node, ast.Assign | ast.AnnAssign | ast.AugAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            names.update(leaf.id for target in targets for leaf in ast.walk(target) if isinstance(leaf, ast.Name))
    return frozenset(names)


@cache
def _imports(tree: ast.Module) -> Sequence[ast.Import | ast.ImportFrom]:
    return [node for node in ast.walk(tree) if isinstance(node, ast.Import | ast.ImportFrom)]


@cache
def _parsed(file: Path) -> ast.Module:
    return ast.parse(file.read_text(encoding="utf-8"), str(file))


def read_sources(root: Path = ROOT) -> dict[str, Source]:
    """Every module of ``polyexport`` and ``trainer`` by its dotted name."""
    sources = {}
    for package in ("polyexport", "trainer"):
        for file in sorted((root / package).rglob("*.py")):
            parts = file.relative_to(root).with_suffix("").parts
            module = ".".join(parts[:-1] if parts[-1] == "__init__" else parts)
            sources[module] = Source(module, _parsed(file))
    return sources


def imports_of(source: Source, modules: Mapping[str, Source]) -> Iterator[Import]:
    """The imports of our own modules, wherever they stand in the file."""
    for node in source.imports():
        if isinstance(node, ast.Import):
            for alias in node.names:
                if alias.name in modules:
                    yield Import(source.module, alias.name, "", node.lineno)
        elif node.level == 0 and node.module is not None and node.module in modules:
            for alias in node.names:
                inner = f"{node.module}.{alias.name}"
                if inner in modules:
                    yield Import(source.module, inner, "", node.lineno)
                else:
                    yield Import(source.module, node.module, alias.name, node.lineno)


def room_of(module: str) -> str:
    """``polyexport.export.graph.trace`` -> ``export``; the public ``polyexport`` itself -> an empty string."""
    parts = module.split(".")
    if parts[0] == "trainer":
        return "trainer"
    return parts[1] if len(parts) > 1 else ""


def _floor(room: str) -> int:
    return next((number for number, rooms in enumerate(LAYERS) if room in rooms), -1)


def fault_of(one: Import) -> str:
    """Why an import is against the table; empty if it is not."""
    here, there = room_of(one.module), room_of(one.target)
    if here == there or not there:  # polyexport itself gives its version to everybody
        return ""
    if here == "trainer":
        return "" if there in TRAINER_IMPORTS else f"trainer imports only {', '.join(sorted(TRAINER_IMPORTS))}"
    if there == "trainer":
        allowed = any(one.module == each or one.module.startswith(f"{each}.") for each in IMPORTS_TRAINER)
        return "" if allowed else f"only {', '.join(sorted(IMPORTS_TRAINER))} import the trainer"
    if not here:  # the public API gathers names from every room below the commands
        return "" if there != "cli" else "the public API imports no command"
    if _floor(there) < _floor(here):
        return ""
    target = one.target.removeprefix("polyexport.")
    if any(here == source and (target == to or target.startswith(f"{to}.")) for source, to in SIDEWAYS):
        return ""
    return f"{there} is not below {here}"


def faults(sources: Mapping[str, Source]) -> list[str]:
    """Every import that is against a rule, as ``file:line`` and the reason."""
    found = []
    for source in sources.values():
        for one in imports_of(source, sources):
            reason = fault_of(one)
            if not reason and one.name.startswith("_") and not one.name.startswith("__"):
                reason = f"{one.name} belongs to {one.target} alone"
            if not reason and one.name and one.name not in sources[one.target].defined() and one.target != "polyexport":
                reason = f"{one.target} imports {one.name} itself: import it from where it is defined"
            if reason:
                found.append(f"{one.module}:{one.line} imports {one.target}: {reason}")
        if source.module != "polyexport":
            found.extend(
                f"{source.module} has {name} in __all__ and does not define it"
                for name in sorted(source.exported() - source.defined())
            )
    return found


def cycle(sources: Mapping[str, Source]) -> list[str]:
    """Modules that import each other in a circle, in order; empty if there is none."""
    edges = {name: sorted({one.target for one in imports_of(source, sources)}) for name, source in sources.items()}
    done: set[str] = set()
    path: list[str] = []

    def visit(module: str) -> list[str]:
        if module in path:
            return [*path[path.index(module) :], module]
        if module in done:
            return []
        path.append(module)
        for target in edges[module]:
            if target != "polyexport" and (found := visit(target)):
                return found
        path.pop()
        done.add(module)
        return []

    for module in edges:
        if module != "polyexport" and (found := visit(module)):
            return found
    return []


def test_every_room_has_a_floor() -> None:
    rooms = {room_of(module) for module in read_sources()} - {"", "trainer"}
    assert rooms == set().union(*LAYERS)
    assert {(_floor(here), bool(reason)) for (here, _), reason in SIDEWAYS.items()} <= {(6, True), (7, True)}


def test_imports_go_down() -> None:
    assert faults(read_sources()) == []


def test_no_module_imports_itself_by_a_detour() -> None:
    assert cycle(read_sources()) == []


def test_only_the_public_api_stands_outside_of_the_rooms() -> None:
    loose = sorted(path.name for path in (ROOT / "polyexport").iterdir() if path.is_file())
    assert loose == ["__init__.py", "errors.py", "py.typed"]


def test_files_stay_short() -> None:
    files = [file for package in ("polyexport", "trainer") for file in (ROOT / package).rglob("*.py")]
    lines = {str(file.relative_to(ROOT)): len(file.read_text(encoding="utf-8").splitlines()) for file in files}
    assert {file: count for file, count in lines.items() if count > MAX_LINES} == {}


@pytest.mark.parametrize(
    ("module", "line", "reason"),
    [
        ("polyexport.storage.files", "from polyexport.imaging.color import Color", "imaging is not below storage"),
        ("polyexport.package.write", "from polyexport.export.export import ExportOptions", "export is not below"),
        ("polyexport.model.model", "def late():\n    import polyexport.cli.app", "cli is not below model"),
        ("polyexport.bench.run", "from trainer.network import ModelConfig", "import the trainer"),
        ("trainer.network", "from polyexport.model.contract import Contract", "trainer imports only"),
        ("polyexport.cli.infer", "from polyexport.storage.files import _random", "belongs to"),
        ("polyexport.cli.infer", "from polyexport.model.model import Path", "import it from where it is defined"),
        ("polyexport.cli.infer", "__all__ = ['Path']", "does not define it"),
    ],
)
def test_a_wrong_import_is_found(module: str, line: str, reason: str) -> None:
    sources = read_sources()
    wrong = ast.parse(line)
    sources[module] = Source(module, ast.Module(body=[*wrong.body, *sources[module].tree.body], type_ignores=[]))
    assert any(reason in fault for fault in faults(sources)), faults(sources)


def test_a_circle_is_found() -> None:
    sources = read_sources()
    wrong = ast.parse("import polyexport.storage.folder")
    target = sources["polyexport.storage.files"]
    sources[target.module] = Source(target.module, ast.Module(body=[*wrong.body, *target.tree.body], type_ignores=[]))
    assert cycle(sources) == ["polyexport.storage.files", "polyexport.storage.folder", "polyexport.storage.files"]
