"""Registry of the splits of generated drawings: to add one, write its module and give it a row in ``SPLITS``.

Importing this package loads neither NumPy nor Pillow, so that the command line can list the splits quickly.
"""

from polyexport.data.splits import (
    bitten_gaps,
    border,
    clean,
    curved,
    cut_gaps,
    dashed,
    details,
    empty,
    gapped,
    glyphs,
    inverted,
    large_gaps,
    marker,
    multi,
    noisy,
    open_lines,
    overlapping,
    pencil,
    photo,
    pockets,
    ruled,
    thick,
    wobbly,
)
from polyexport.data.splits.split import DrawingSplit

__all__ = ["SPLITS"]

SPLITS: dict[str, DrawingSplit] = {
    module.SPLIT.name: module.SPLIT
    for module in (
        clean,
        thick,
        gapped,
        noisy,
        curved,
        multi,
        pockets,
        details,
        glyphs,
        open_lines,
        overlapping,
        border,
        cut_gaps,
        bitten_gaps,
        large_gaps,
        dashed,
        wobbly,
        pencil,
        marker,
        photo,
        ruled,
        inverted,
        empty,
    )
}
"""Every split by its name, in the order of help texts and data sets."""
