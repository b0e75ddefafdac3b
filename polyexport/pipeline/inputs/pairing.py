"""Pairing: which second picture, such as a mask, belongs to which input."""

import os
from collections.abc import Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from polyexport.errors import UsageError
from polyexport.model.conditions.condition import Condition
from polyexport.model.settings import describe_conditions
from polyexport.pipeline.inputs.naming import join_name
from polyexport.pipeline.inputs.walking import is_image, join_path
from polyexport.storage.stores import Store, Url, is_url, local_path

__all__ = ["NO_PICTURES", "Pairing", "Pictures", "parse_pairing"]


@dataclass(frozen=True, slots=True)
class Pictures:
    """The second pictures of one condition: a folder with one for each input, or one file for all of them."""

    path: str
    """Path or URL."""

    is_folder: bool
    _found: dict[str, dict[str, list[str]]] = field(default_factory=dict, compare=False, repr=False)
    """Names of the images of each folder that was read, by their stems."""

    def of(self, name: str) -> str:
        """Return the path or URL of the picture that belongs to an input.

        It has the input's relative path and name, whatever its suffix; if several have, the one with the same suffix.

        Args:
            name: relative path of the input.

        Returns:
            A path; one that does not exist if there is no such picture, so that the input fails when it is read.

        Raises:
            UsageError: several pictures have the name, and none of them the same suffix; or the folder that holds them
                cannot be listed.
        """
        if not self.is_folder:
            return self.path
        above, _, last = name.rpartition("/")
        stem = os.path.splitext(last)[0]  # noqa: PTH122 - text stays text
        names = self._names(above).get(stem, [])
        if len(names) > 1 and last not in names:
            raise UsageError(
                f"{self._join(above, names[0])} and {names[1]} both belong to the input {name}", remedy="remove one"
            )
        return self._join(above, last if last in names else names[0] if names else f"{stem}.*")

    def _join(self, above: str, name: str) -> str:
        relative = join_name(above, name)
        return str(Url.of(self.path) / relative) if is_url(self.path) else join_path(self.path, relative)

    def _names(self, above: str) -> dict[str, list[str]]:
        """Return the names of the images in a folder by their stems; none if there is no such folder."""
        if above not in self._found:
            names: list[str] = []
            try:
                if is_url(self.path):
                    store = Store(Url.of(self.path))
                    entries = (one for one in store.entries(above, recursive=False) if one.is_file)
                    names = [one.name.rpartition("/")[2] for one in entries]
                else:
                    with os.scandir(join_path(self.path, above) if above else self.path) as listed:
                        names = [entry.name for entry in listed]
            except (FileNotFoundError, NotADirectoryError):
                pass
            except OSError as error:
                raise UsageError(
                    f"{join_name(self.path, above)} cannot be listed ({error.strerror or error})",
                    remedy="check its permissions",
                ) from error
            by_stem: dict[str, list[str]] = {}
            for name in sorted(filter(is_image, names)):
                by_stem.setdefault(os.path.splitext(name)[0], []).append(name)  # noqa: PTH122
            self._found[above] = by_stem
        return self._found[above]


@dataclass(frozen=True, slots=True)
class Pairing:
    """The second pictures of every condition that is a picture."""

    by_name: tuple[tuple[str, Pictures | None], ...] = ()
    """Name of each condition that is a picture, in the model's order; None where a manifest gives the pictures."""

    @property
    def names(self) -> tuple[str, ...]:
        """Names of the conditions that are pictures, in the model's order."""
        return tuple(name for name, _ in self.by_name)

    @property
    def given_names(self) -> tuple[str, ...]:
        """Names of the conditions whose pictures are not given by a manifest."""
        return tuple(name for name, one in self.by_name if one is not None)

    @property
    def paths(self) -> list[Path]:
        """Folders and files on this machine that hold second pictures, and so no inputs."""
        return [Path(one.path) for _, one in self.by_name if one is not None and not is_url(one.path)]

    def pictures(self, name: str, own: Sequence[tuple[str, str]] = ()) -> tuple[str, ...]:
        """Return the path of each second picture of an input.

        Args:
            name: relative path of the input.
            own: name and path of each second picture that a manifest gives.

        Raises:
            UsageError: as ``Pictures.of`` does.
        """
        named = dict(own)
        return tuple(one.of(name) if one is not None else named[condition] for condition, one in self.by_name)


NO_PICTURES = Pairing()
"""The pairing of a model that takes no second picture."""


def parse_pairing(
    conditions: Sequence[Condition[Any]], assignments: Sequence[str], *, manifest: bool = False
) -> Pairing:
    """Parse the values of ``--with``.

    Args:
        conditions: conditions of the model.
        assignments: ``NAME=PATH`` each, a folder or a file.
        manifest: whether pictures that are not given here stand in a manifest.

    Raises:
        UsageError: a picture that the model does not take, one that is missing or given twice, or a path that does not
            exist.
    """
    wanted = [one.name for one in conditions if not one.textual]
    given: dict[str, Pictures] = {}
    for text in assignments:
        name, _, path = (part.strip() for part in text.partition("="))
        example = f"--with {wanted[0]}=DIR" if wanted else "no --with"
        if not name or not path:
            raise UsageError(f"{text[:60]!r} is not NAME=DIR or NAME=FILE", remedy=f"give {example}")
        if name not in wanted:
            raise UsageError(
                f"the model takes no picture {name[:60]!r}; it takes {describe_conditions(conditions)}",
                remedy=f"give {example}",
            )
        if name in given:
            raise UsageError(f"the pictures of {name} are given twice", remedy="give one folder or file")
        given[name] = _pictures(name, local_path(path))
    if not manifest and (missing := [name for name in wanted if name not in given]):
        raise UsageError(
            f"no {missing[0]} was given; the model takes {describe_conditions(conditions)}",
            remedy=f"give {' '.join(f'--with {name}=DIR' for name in missing)}",
        )
    return Pairing(tuple((name, given.get(name)) for name in wanted))


def _pictures(name: str, path: str) -> Pictures:
    remedy = f"give a folder of pictures that are called as the inputs are, or one picture: --with {name}=DIR"
    if is_url(path):
        try:
            kind = Store(Url.of(path)).kind()
        except OSError as error:
            raise UsageError(f"{path} cannot be read ({error.strerror or error})", remedy=remedy) from error
        if not kind:
            raise UsageError(f"{path} does not exist", remedy=remedy)
        return Pictures(path, is_folder=kind != "file")
    if not os.path.exists(path):  # noqa: PTH110 - text stays text
        raise UsageError(f"{path}, the pictures of {name}, does not exist", remedy=remedy)
    return Pictures(path, is_folder=os.path.isdir(path))  # noqa: PTH112
