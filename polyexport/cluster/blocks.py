"""Inputs of a run in blocks: each block is handed to one actor, and again to another if that actor is lost."""

from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from polyexport.errors import PolyexportError

__all__ = ["MAX_INPUTS_PER_BLOCK", "Block", "Blocks"]

MAX_INPUTS_PER_BLOCK = 256
"""Inputs that are done again, at most, for each call that a lost actor had."""

_MIN_INPUTS_PER_BLOCK = 16  # the stages of an actor do not overlap at the ends of a block; fewer, if some had no work
_MAX_LOSSES = 4  # of the actors that had a block


@dataclass(frozen=True, slots=True)
class Block:
    """Inputs of one call of an actor."""

    inputs: Sequence[int]
    """Positions of the inputs in the plan."""

    losses: int = 0
    """Number of actors that were lost while they had this block."""


class Blocks:
    """The inputs that no actor has. For one thread."""

    def __init__(self, inputs: int, calls: int) -> None:
        """Start with all inputs.

        Args:
            inputs: number of inputs of the plan.
            calls: number of calls that all actors together take at a time.
        """
        self._rest = range(inputs)
        self._calls = calls
        self._least = min(_MIN_INPUTS_PER_BLOCK, -(-inputs // calls))
        self._lost: deque[Block] = deque()

    def __bool__(self) -> bool:
        return bool(self._rest or self._lost)

    def take(self) -> Block:
        """Remove a block for one call of an actor.

        Lost blocks come first. New blocks are a fraction of the inputs that are left, so that the last blocks are small
        and no actor works alone for long at the end.
        """
        if self._lost:
            return self._lost.popleft()
        share = -(-len(self._rest) // (2 * self._calls))
        size = min(max(share, self._least), MAX_INPUTS_PER_BLOCK)
        block, self._rest = Block(self._rest[:size]), self._rest[size:]
        return block

    def give_back(self, block: Block) -> None:
        """Put back a block whose actor was lost.

        Raises:
            PolyexportError: so many actors were lost at this block that its inputs may be the cause.
        """
        losses = block.losses + 1
        if losses > _MAX_LOSSES:
            count = len(block.inputs)
            raise PolyexportError(
                f"{losses} actors were lost while they had the {count} inputs from number {block.inputs[0] + 1} on",
                remedy="see Ray's logs; try these inputs with --engine local",
            )
        self._lost.append(Block(block.inputs, losses))
