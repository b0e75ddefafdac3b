import errno
import os

import pytest

from polyexport import errors
from polyexport.errors import (
    ExitCode,
    OutOfMemoryError,
    PolyexportError,
    UsageError,
    check_memory,
    out_of_memory,
    reason_of,
)

DESIGN = {
    "UsageError": 2,
    "ColorError": 2,
    "DatasetError": 1,
    "ImageError": 3,
    "ModelError": 4,
    "CheckpointError": 4,
    "ContractError": 4,
    "ParityError": 4,
    "SignatureError": 4,
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
    for name in (*DESIGN, "PolyexportError", "OutOfMemoryError"):
        assert f" {name} " in (errors.__doc__ or "").replace("    PolyexportError", " PolyexportError")


def test_exit_codes_of_signals_and_targets() -> None:
    assert (ExitCode.TARGET_MISSED, ExitCode.INTERRUPTED, ExitCode.TERMINATED) == (7, 130, 143)


@pytest.mark.parametrize(
    "error",
    [
        MemoryError(),
        OSError(errno.ENOMEM, os.strerror(errno.ENOMEM)),
        BlockingIOError(errno.EAGAIN, os.strerror(errno.EAGAIN)),  # a system that refuses to start one more process
        RuntimeError("can't start new thread"),
        RuntimeError("std::bad_alloc"),
        RuntimeError("[ONNXRuntimeError] : 6 : RUNTIME_EXCEPTION : Failed to allocate memory for requested buffer"),
        RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 4 bytes. Error code 12"),
        ImportError("libtorch_cpu.so: failed to map segment from shared object"),
        ImportError("libopenvino.so: cannot allocate memory"),
        OutOfMemoryError("reading a file"),
    ],
)
def test_every_librarys_word_for_a_lack_of_memory_is_known(error: Exception) -> None:
    assert out_of_memory(error)
    wrapped = RuntimeError("the graph could not be made")
    wrapped.__cause__ = error
    assert out_of_memory(wrapped)


@pytest.mark.parametrize(
    "error",
    [
        ValueError("wrong"),
        OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)),
        ImportError("libgomp.so.1: cannot allocate memory in static TLS block"),  # a matter of the order of imports
        UsageError("unknown color 'out of memory'", remedy="give another"),
    ],
)
def test_other_errors_are_not_taken_for_it(error: Exception) -> None:
    assert not out_of_memory(error)


def test_a_lack_of_memory_says_what_needed_it_and_what_to_lower() -> None:
    error = OutOfMemoryError("reading a file", "bad allocation")
    assert error.exit_code == 1
    assert str(error).startswith("memory ran out while reading a file (bad allocation); lower the number or size")


def test_the_line_that_names_the_lack_of_memory_is_quoted() -> None:
    check_memory(ValueError("wrong"), "loading a model")
    with pytest.raises(OutOfMemoryError, match=r"while loading a model \(std::bad_alloc\); lower"):
        check_memory(RuntimeError("Exception from core.cpp:117:\nstd::bad_alloc\n"), "loading a model")
    with pytest.raises(OutOfMemoryError, match="while reading a file; lower"):
        check_memory(OutOfMemoryError("reading a file"), "loading a model")


@pytest.mark.parametrize(
    ("said", "first", "whole"),
    [
        ("", "ValueError", "ValueError"),
        ("one\n  two", "one", "one two"),
        (f"{'a' * 300}\nb", "a" * 200, "a" * 200),
        ("<function norm at 0x7f5a0d1f1440> is no number", "<function norm> is no number", None),
        ("\n<built-in method f of type object at 0x55D0A1B2C3D4>", "<built-in method f of type object>", None),
        ("pointer 0x7ffdeadbeef0, code 0x8007000E", "pointer , code 0x8007000E", None),
    ],
)
def test_what_another_library_says_has_no_addresses(said: str, first: str, whole: str | None) -> None:
    assert reason_of(ValueError(said)) == first
    assert reason_of(ValueError(said), whole=True) == (first if whole is None else whole)
