"""Names of the outputs of a watch: those that a run over the folder chooses, and none changes afterwards.

A run over a whole folder knows every file when it chooses names: ``a.jpg`` becomes ``a.png``, and ``a.jpg.png`` beside
an input ``a.png``. Here that input may come later, when ``a.png`` has been made of ``a.jpg``. Then the output that
exists keeps its name, and the later input gets the longer one, ``a.png.png``. The journal tells a watch that is started
again which names outputs have, so that none is made a second time under another name.
"""

from collections.abc import Callable, Sequence

from polyexport.imaging.names import long_name, output_names, png_suffix
from polyexport.model.settings import Setting
from polyexport.pipeline.outputs.journal import Record
from polyexport.pipeline.outputs.prior_results import Records
from polyexport.pipeline.plan import Item, output_name
from polyexport.storage.spelling import Spelling

__all__ = ["StickyNames"]


class StickyNames:
    """Names of the outputs of the inputs that are present, by their relative paths."""

    def __init__(
        self,
        settings: tuple[Setting, ...],
        journal: Records,
        spelling: Spelling,
        input_sha256: Callable[[str], str],
        target: Callable[[str], str] = png_suffix,
    ) -> None:
        """Begin with no input.

        Args:
            settings: settings of every input.
            journal: records of the outputs that were made.
            spelling: spellings that the output folder ignores.
            input_sha256: gives the SHA-256 of an input, as the journal has it, by its relative path; an empty string if
                it cannot be read. Only asked where two names are possible.
            target: returns the suffix of an output for that of its input; see ``output_names``.
        """
        self._settings = settings
        self._journal = journal
        self._spelling = spelling
        self._input_sha256 = input_sha256
        self._target = target
        self._names: dict[str, str] = {}
        self._owners: dict[str, str] = {}

    def assign(self, relatives: Sequence[str]) -> None:
        """Choose the names of inputs that have none yet, as one run over them would as far as the names are free."""
        new = [relative for relative in relatives if relative not in self._names]
        wanted = output_names(new, self._target)
        left: list[tuple[str, str]] = []
        # First the names that outputs have already, so that no other input takes them.
        for relative, name in zip(new, wanted, strict=True):
            other = self._other(relative, name)
            if self._free(other) and self._was_made(relative, name, other):
                self._give(relative, other)
            else:
                left.append((relative, name))
        for relative, name in left:
            for each in (name, self._other(relative, name)):
                if self._free(each):
                    self._give(relative, each)
                    break

    def name(self, relative: str) -> tuple[str, str]:
        """Return the name of an input's output, and why the output cannot have it; empty if it can."""
        if relative in self._names:
            return self._names[relative], ""
        [name] = output_names([relative], self._target)
        owner = self._owners.get(self._spelling.folded(name), "another input")
        return name, f"its output {name} is the output of {owner}, too; rename one of them"

    def release(self, relative: str) -> None:
        """Free the name of an input that has been removed."""
        name = self._names.pop(relative, None)
        if name is not None:
            del self._owners[self._spelling.folded(name)]

    def _other(self, relative: str, name: str) -> str:
        """Return the name that an output has if it does not have ``name``."""
        long = long_name(relative, self._target)
        return long if name != long else output_names([relative], self._target)[0]

    def _free(self, name: str) -> bool:
        return self._spelling.folded(name) not in self._owners

    def _give(self, relative: str, name: str) -> None:
        self._names[relative] = name
        self._owners[self._spelling.folded(name)] = relative

    def _was_made(self, relative: str, name: str, other: str) -> bool:
        """Return whether the other name has an output that was made of this input, and the first name has none."""
        made = self._inputs_of(other)
        if not made:
            return False
        sha256 = self._input_sha256(relative)
        return sha256 in made and sha256 not in self._inputs_of(name)

    def _inputs_of(self, name: str) -> set[str]:
        """Return the SHA-256 of the inputs of which outputs of a name were made."""
        item = Item("", name, self._settings)
        records: list[Record | None] = [self._journal.record(output_name(item, one)) for one in self._settings]
        return {record.input_sha256 for record in records if record is not None and not record.failed}
