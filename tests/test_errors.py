import pytest

from polyexport import errors
from polyexport.errors import ExitCode, PolyexportError

DESIGN = {
    "UsageError": 2,
    "ColorError": 2,
    "DatasetError": 1,
    "ImageError": 3,
    "ModelError": 4,
    "CheckpointError": 4,
    "ContractError": 4,
    "ParityError": 4,
    "OutputError": 5,
    "ProviderError": 6,
}


@pytest.mark.parametrize(("name", "code"), DESIGN.items())
def test_every_error_has_its_exit_code_and_says_what_to_do(name: str, code: int) -> None:
    error = getattr(errors, name)("got this", remedy="do that")

    assert isinstance(error, PolyexportError)
    assert error.exit_code == code
    assert str(error) == "got this; do that"


def test_the_tree_in_the_docstring_is_the_tree() -> None:
    for name in (*DESIGN, "PolyexportError"):
        assert f" {name} " in (errors.__doc__ or "").replace("    PolyexportError", " PolyexportError")


def test_exit_codes_of_signals_and_targets() -> None:
    assert (ExitCode.TARGET_MISSED, ExitCode.INTERRUPTED, ExitCode.TERMINATED) == (7, 130, 143)
