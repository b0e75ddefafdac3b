"""Blocks of inputs: every input is handed out, and again when its actor is lost."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from polyexport.cluster.blocks import MAX_INPUTS_PER_BLOCK, Blocks
from polyexport.errors import PolyexportError


@given(st.integers(0, 5000), st.integers(1, 40), st.data())
def test_every_input_is_answered_once_whichever_actors_are_lost(inputs: int, calls: int, data: st.DataObject) -> None:
    blocks = Blocks(inputs, calls)
    answered: list[int] = []
    losses = data.draw(st.lists(st.booleans(), max_size=12))
    while blocks:
        block = blocks.take()
        assert 0 < len(block.inputs) <= MAX_INPUTS_PER_BLOCK
        if losses and losses.pop() and block.losses < 4:
            blocks.give_back(block)
        else:
            answered.extend(block.inputs)
    assert sorted(answered) == list(range(inputs))


def test_blocks_become_smaller_towards_the_end() -> None:
    blocks = Blocks(4000, 4)
    sizes = []
    while blocks:
        sizes.append(len(blocks.take().inputs))
    assert sizes == sorted(sizes, reverse=True)
    assert sizes[0] == MAX_INPUTS_PER_BLOCK
    assert sizes[-1] <= 16 < sizes[-12]


def test_few_inputs_are_shared_by_all_calls() -> None:
    blocks = Blocks(100, 60)
    sizes = [len(blocks.take().inputs) for _ in range(50)]
    assert sizes == [2] * 50
    assert not blocks


def test_a_block_at_which_actors_are_lost_again_and_again_ends_the_run() -> None:
    blocks = Blocks(100, 1)
    first, second = blocks.take(), blocks.take()
    for _ in range(4):
        blocks.give_back(second)
        second = blocks.take()
        assert second.inputs == range(50, 75)
    with pytest.raises(PolyexportError, match="5 actors were lost while they had the 25 inputs from number 51 on"):
        blocks.give_back(second)
    blocks.give_back(first)
    assert blocks.take().inputs == range(50)
