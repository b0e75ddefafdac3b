"""The command line of a package: runs the model of the package on image files.

A package holds a copy of this module and of all modules that it imports, directly or through others; see
``polyexport.package.vendor``. It may import nothing but those, onnxruntime, numpy and pillow;
a model whose result is a fill needs opencv-python-headless as well.
"""

import argparse
import errno
import hashlib
import importlib
import os
import secrets
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from PIL import ImageColor

from polyexport.errors import (
    ContractError,
    ExitCode,
    ImageError,
    OutOfMemoryError,
    OutputError,
    PolyexportError,
    ProviderError,
    SignatureError,
    UsageError,
    out_of_memory,
    reason_of,
)
from polyexport.imaging.codecs.png import encode_png
from polyexport.imaging.color import Color
from polyexport.imaging.names import name_clashes, output_names
from polyexport.imaging.pixels import Pixels, read_image
from polyexport.model.canvas import CanvasRule, check_same_size
from polyexport.model.file import peek_contract, read_model
from polyexport.model.model import Model
from polyexport.model.settings import Setting, describe_conditions, parse_settings
from polyexport.model.tile_difference import measure_tiles
from polyexport.model.tile_wish import TileWish
from polyexport.package.arguments import parse_arguments
from polyexport.runtime.session import SessionOptions
from polyexport.storage.files import check_writable, write_atomic
from polyexport.storage.folder import MANIFEST, read_manifest
from polyexport.storage.spelling import probe_spelling
from polyexport.storage.streams import one_line, write_line

__all__ = ["PROVIDERS", "main"]

PROVIDERS: tuple[str, ...] = ("cpu", "cuda")
"""Execution providers that a package can run its model on."""

_FETCH_AGAIN = "fetch the package again"
_NO_CUDA = "pip install 'onnxruntime-gpu[cuda,cudnn]' in place of onnxruntime, or give --provider cpu"

_ONE_FILE_ERRNOS = frozenset((errno.ENAMETOOLONG, errno.EISDIR, errno.EINVAL, errno.EILSEQ))
"""Errors of a single file name; any other error of a write means that the output folder cannot be used."""


def main(folder: Path, arguments: Sequence[str] | None = None) -> int:
    """Run the command line of a package and return its exit code.

    Args:
        folder: The package.
        arguments: Arguments of the command line; those of this process if None.
    """
    try:
        return _run(parse_arguments(folder, arguments, providers=PROVIDERS))
    except PolyexportError as error:
        write_line("stderr", one_line(f"error: {error}"))
        return error.exit_code
    except KeyboardInterrupt:
        write_line("stderr", "interrupted")
        return ExitCode.INTERRUPTED
    except Exception as error:  # noqa: BLE001 - the last resort: a bug still ends in one line
        if out_of_memory(error):
            write_line("stderr", one_line(f"error: {OutOfMemoryError('running run.py', reason_of(error))}"))
            return ExitCode.FATAL
        write_line("stderr", one_line(f"internal error: {type(error).__name__}: {error}"))
        return ExitCode.FATAL


@dataclass(frozen=True, kw_only=True, slots=True)
class _Run:
    """Request of a command line: what it asks of a model, for every image."""

    model: Model
    canvas_rule: CanvasRule
    settings: Mapping[str, Setting]
    """Settings by the folder of their outputs."""

    pictures: Mapping[str, Path]
    """Folder or file of the pictures of each condition that is a second picture."""

    as_alpha: bool


def _run(arguments: argparse.Namespace) -> int:
    """Run the model on every image under every setting; an image that cannot be read or written fails alone."""
    output: Path = arguments.output or _default_output(arguments.model)
    sources = list(dict.fromkeys(arguments.images))
    check_writable(output)
    named = dict(zip(sources, output_names([path.name for path in sources]), strict=True))
    clashes = _clashes(output, named)
    names = {source: name for source, name in named.items() if source not in clashes}
    model = _open_model(arguments.model, arguments.require_signature, arguments.provider, arguments.threads)
    if model.contract.result.kind == "fill":
        _check_opencv()
    run = _run_of(model, arguments)
    _refuse_existing(output, names, list(run.settings), overwrite=arguments.overwrite)
    _report_tiles(run)
    failed = len(clashes)
    for source, reason in clashes.items():
        write_line("stderr", one_line(f"failed: {source}: {reason}"))
    for source, name in names.items():
        try:
            _run_image(run, source, [output / folder / name for folder in run.settings])
        except OutputError:
            raise
        except Exception as error:  # noqa: BLE001 - no image may stop the others; memory is the usual cause
            failed += 1
            write_line("stderr", one_line(f"failed: {source}: {error if str(error) else type(error).__name__}"))
    summary = f"{len(sources)} images: {len(sources) - failed} ok, {failed} failed; written to {output}"
    write_line("stdout", one_line(summary))
    return ExitCode.SOME_FAILED if failed else ExitCode.OK


def _default_output(model: Path) -> Path:
    """Return the output folder of a command line that names none; a file that is no model is refused when opened."""
    try:
        return Path("colored" if peek_contract(model).color is not None else "results")
    except PolyexportError:
        return Path("results")


def _run_of(model: Model, arguments: argparse.Namespace) -> _Run:
    """Read the conditions of a command line.

    Raises:
        UsageError: A condition or a result that the model does not have, or a value that it does not know.
    """
    as_alpha, tiles = arguments.result_as == "alpha", TileWish.parse(arguments.tile, arguments.overlap)
    if as_alpha and not model.contract.result.can_be_alpha:
        result = model.contract.result
        raise UsageError(
            f"the model's result is a {result.kind} of scale {result.scale}, no mask of the image's size",
            remedy="leave --result-as alpha out",
        )
    settings = parse_settings(model.conditions, colors=arguments.color, assignments=arguments.assignments)
    for setting in settings:
        model.recipe_of(setting)  # raises for a color that the model does not know
    return _Run(
        model=model,
        canvas_rule=model.contract.canvas_rule(arguments.size, keep_original=as_alpha, tiles=tiles),
        settings={_folder_name(model, setting): setting for setting in settings},
        pictures=_pictures(model, arguments.pictures),
        as_alpha=as_alpha,
    )


def _report_tiles(run: _Run) -> None:
    """Warn of tiles that do not give the result of the whole image, and say how much they differ."""
    tiles = run.canvas_rule.tiles
    if tiles is not None and not tiles.exact:
        difference = measure_tiles(run.model, run.canvas_rule, next(iter(run.settings.values())))
        write_line("stderr", one_line(f"warning: {difference.describe()}"))


def _pictures(model: Model, given: Sequence[str]) -> dict[str, Path]:
    """Read the values of ``--with``, one for each condition of the model that is a second picture."""
    found: dict[str, Path] = {}
    expected = [condition.name for condition in model.conditions if not condition.textual]
    remedy = f"give {' '.join(f'--with {name}=DIR' for name in expected)}" if expected else "leave --with out"
    for text in given:
        name, equals, path = text.partition("=")
        if not equals or not path:
            raise UsageError(f"{text[:60]!r} is not NAME=DIR or NAME=FILE", remedy=remedy)
        if name not in expected:
            takes = describe_conditions(model.conditions)
            raise UsageError(f"the model takes no picture {name[:60]!r}; it takes {takes}", remedy=remedy)
        if name in found:
            raise UsageError(f"the pictures of {name} are given twice", remedy="give one folder or file")
        if not Path(path).exists():
            raise UsageError(f"{path}, the pictures of {name}, does not exist", remedy="give a folder or a file")
        found[name] = Path(path)
    missing = [name for name in expected if name not in found]
    if missing:
        raise UsageError(f"no pictures of {missing[0]} were given", remedy=remedy)
    return found


def _clashes(output: Path, names: Mapping[Path, str]) -> dict[Path, str]:
    """Return the images whose outputs the output folder cannot tell from those of others, and a reason for each."""
    sources = list(names)
    try:
        spelling = probe_spelling(output / f".{secrets.token_hex(8)}")
    except OSError as error:
        raise OutputError(f"cannot write to {output} ({error.strerror})", remedy="choose another -o") from error
    found = name_clashes(lambda: enumerate(names.values()), spelling)
    clashes = {sources[number]: sources[number if other is None else other] for number, other in sorted(found.items())}
    return {
        source: f"its output {names[source]} is that of {other}, too; rename one of them"
        for source, other in clashes.items()
    }


def _open_model(path: Path, signed_by: Path | None, provider: str, threads: int) -> Model:
    """Load a model file whose SHA-256 is the one in the manifest beside it.

    Raises:
        ContractError: The file or its manifest cannot be read, they do not agree, or the model is refused.
        SignatureError: The signature is missing, or does not hold for the file and the key ``signed_by``.
        ProviderError: The model cannot run on the provider.
    """
    try:
        data = read_model(path, signed_by=signed_by)
        _check_listed(path, data)
        return Model.from_bytes(data, SessionOptions(provider=provider, threads=threads), name=str(path))
    except ModuleNotFoundError as missing:
        raise SignatureError(f"{missing.name} is not installed", remedy=f"pip install {missing.name}") from missing
    except ContractError as error:
        raise ContractError(error.message, remedy=_FETCH_AGAIN) from error
    except ProviderError as error:
        raise ProviderError(error.message, remedy=_NO_CUDA) from error


def _check_opencv() -> None:
    """Raise UsageError if OpenCV is missing, which finds the ink and the regions of a drawing."""
    try:
        importlib.import_module("cv2")
    except ImportError as missing:
        raise UsageError("cv2 cannot be imported", remedy="pip install -r requirements.txt") from missing


def _check_listed(path: Path, data: bytes) -> None:
    """Raise ContractError unless the manifest beside a file has the SHA-256 of its bytes."""
    manifest = path.parent / MANIFEST
    try:
        listed = read_manifest(path.parent).get(path.name, "")
    except OSError as error:
        raise ContractError(f"{manifest} cannot be read ({error.strerror})", remedy=_FETCH_AGAIN) from error
    found = hashlib.sha256(data).hexdigest()
    if found != listed:
        shown = f"{listed[:12]}..." if listed else "no entry for it"
        raise ContractError(f"{path} has SHA-256 {found[:12]}..., {manifest} has {shown}", remedy=_FETCH_AGAIN)


def _folder_name(model: Model, setting: Setting) -> str:
    """Return the folder of the outputs of a setting, with a color by its CSS name or else by six hex digits."""
    textual = [condition for condition in model.conditions if condition.textual]
    return ",".join(
        _color_name(value) if isinstance(value, Color) else condition.folder(value)
        for condition, value in zip(textual, setting.values, strict=True)
    )


def _color_name(color: Color) -> str:
    return color.name if color.name in ImageColor.colormap else bytes(color.rgb).hex()


def _refuse_existing(output: Path, names: Mapping[Path, str], folders: Sequence[str], *, overwrite: bool) -> None:
    """Raise UsageError if an output is an input, or exists and may not be replaced."""
    sources = {os.path.realpath(source) for source in names}
    for name in names.values():
        for folder in folders:
            target = output / folder / name
            if os.path.realpath(target) in sources:
                raise UsageError(f"the output {target} is an input", remedy="choose another -o")
            if not overwrite and os.path.lexists(target):
                raise UsageError(f"the output {target} exists already", remedy="add --overwrite or choose another -o")


def _run_image(run: _Run, source: Path, targets: Sequence[Path]) -> None:
    """Run the model on one image, and write an output for each setting.

    Raises:
        ImageError: The image or a second picture of it cannot be read, or an output cannot have its name.
        OutputError: The output folder cannot be used.
    """
    model = run.model
    canvas = run.canvas_rule.place(_read(source, run.canvas_rule.channels))
    seconds: list[Pixels] = []
    for name, rule in model.picture_rules(run.canvas_rule).items():
        picture = _read(_picture_for(source, run.pictures[name], name), rule.channels)
        check_same_size(name, (picture.shape[0], picture.shape[1]), (canvas.height, canvas.width))
        seconds.append(rule.place(picture).pixels)
    settings = list(run.settings.values())
    at_a_time = canvas.batch_limit(len(settings))
    for start in range(0, len(settings), at_a_time):
        batch = settings[start : start + at_a_time]
        outputs = model.run_canvases([canvas] * len(batch), batch, [seconds] * len(batch))
        for setting, output, target in zip(batch, outputs, targets[start:], strict=False):
            _write(target, model.finish(canvas, output, setting, as_alpha=run.as_alpha))


def _read(path: Path, channels: int) -> Pixels:
    image = read_image(path, channels=channels)
    for warning in image.warnings:
        write_line("stderr", one_line(f"warning: {path}: {warning}"))
    return image.pixels


def _picture_for(source: Path, given: Path, name: str) -> Path:
    """Return the second picture of an image: the given file, or the one of the image's name in the given folder.

    Raises:
        ImageError: The folder has no picture of this name, or several with other suffixes.
    """
    if not given.is_dir():
        return given
    if (given / source.name).exists():
        return given / source.name
    alike = [path for path in given.iterdir() if path.stem == source.stem]
    if len(alike) != 1:
        count = "no picture" if not alike else f"{len(alike)} pictures"
        raise ImageError(f"{given} has {count} of its name for {name}", remedy=f"put {source.name} there")
    return alike[0]


def _write(target: Path, pixels: Pixels) -> None:
    try:
        write_atomic(target, encode_png(pixels))
    except OutputError as error:
        if isinstance(error.__cause__, OSError) and error.__cause__.errno in _ONE_FILE_ERRNOS:
            raise ImageError(error.message, remedy="rename the input") from error
        raise
