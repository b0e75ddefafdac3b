"""The memory of a request's body: what is put in comes out, and none of it stays."""

from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.service import body_buffer
from polyexport.service.body_buffer import BodyBuffer, find


@given(st.lists(st.binary(max_size=20), max_size=20))
def test_what_is_put_in_comes_out(pieces: list[bytes]) -> None:
    whole = b"".join(pieces)
    with BodyBuffer(len(whole)) as buffer:
        for piece in pieces:
            buffer.append(piece)
        with buffer.view() as view:
            assert bytes(view) == whole


@given(st.binary(max_size=60), st.binary(min_size=1, max_size=3), st.integers(0, 9), st.integers(1, 9))
def test_find_finds_what_bytes_find(data: bytes, wanted: bytes, start: int, step: int) -> None:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(body_buffer, "_SEARCH_BYTES", step)
        assert find(memoryview(data), wanted, start) == data.find(wanted, start)


def mapped_bytes() -> int:
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="looks into /proc")
def test_memory_is_taken_when_it_is_needed_and_given_back() -> None:
    before = mapped_bytes()
    with BodyBuffer(512 << 20) as buffer:
        assert mapped_bytes() - before < 16 << 20
        for _ in range(64):
            buffer.append(bytes(1 << 20))
        assert mapped_bytes() - before > 48 << 20
    assert mapped_bytes() - before < 16 << 20


def test_a_view_that_an_exception_still_holds_is_no_error() -> None:
    buffer = BodyBuffer(8)
    view = buffer.view()
    buffer.close()
    view.release()
    buffer.close()
