"""Interface: what a run has to know of a model to be planned, before the model is loaded."""

from dataclasses import dataclass
from pathlib import Path
from typing import Any

from polyexport.model.conditions import condition_of
from polyexport.model.conditions.condition import Condition
from polyexport.model.conditions.fields import ColorFields
from polyexport.model.file import peek_contract
from polyexport.model.result import ResultFields

__all__ = ["Interface", "interface_of"]


@dataclass(frozen=True, kw_only=True, slots=True)
class Interface:
    """The conditions and the result of a model."""

    conditions: tuple[Condition[Any], ...]
    """Inputs of the model beside the image, in the order of the graph."""

    result: ResultFields


def interface_of(model: Path | None, *, signed_by: Path | None = None) -> Interface:
    """Return the interface of a model.

    Args:
        model: a model file, of which the contract is read alone; None for the shipped model, whose file is not read:
            it fills drawings with any color.
        signed_by: public key, PEM, with which the model file must have been signed.

    Raises:
        ContractError: the file cannot be read, or has no contract that this version reads.
        SignatureError: the signature is missing, or does not hold for the file and the key.
    """
    if model is None:
        return Interface(conditions=(condition_of(ColorFields(conditioning="rgb")),), result=ResultFields(kind="fill"))
    contract = peek_contract(model, signed_by=signed_by)
    return Interface(conditions=contract.built_conditions(), result=contract.result)
