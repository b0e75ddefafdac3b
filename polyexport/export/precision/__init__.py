"""Registry of the precisions of an export: to add one, write its module and give it a row in ``PRECISIONS``.

Importing this package loads neither torch, onnx, numpy nor onnxruntime, so that the command line can list the
precisions quickly. ``precision.py`` says what belongs to a precision.
"""

from polyexport.errors import ModelError
from polyexport.export.precision import fp16, fp32, int8
from polyexport.export.precision.precision import Precision

__all__ = ["PRECISIONS", "REFERENCE", "precision_named"]

PRECISIONS: dict[str, Precision] = {
    module.PRECISION.name: module.PRECISION
    for module in (
        fp32,
        fp16,
        int8,
    )
}
"""Every precision by its name, in the order of help texts."""

REFERENCE = fp32.PRECISION
"""The precision that a network is traced in and that all others are made from."""


def precision_named(name: str) -> Precision:
    """Return the precision of a model file by its name.

    Raises:
        ModelError: The registry has no such precision.
    """
    if name not in PRECISIONS:
        raise ModelError(
            f"precision {name!r} is not known, expected {', '.join(PRECISIONS)}",
            remedy="use the version of polyexport that exported the model",
        )
    return PRECISIONS[name]
