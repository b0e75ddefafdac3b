"""Registry of the splits of generated drawings: to add one, write its module and give it a row in ``SPLITS``.

Importing this package loads neither NumPy nor Pillow, so that the command line can list the splits quickly.
"""

from polyexport.data.splits import clean, curved, gapped, multi, noisy, pockets, thick
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
    )
}
"""Every split by its name, in the order of help texts and data sets."""
