"""Write the API reference of polyexport and trainer as HTML.

python docs/api.py build/docs
"""

import sys
from pathlib import Path

import pdoc


def main() -> None:
    """Render every public module into the folder that the command line names."""
    pdoc.render.configure(docformat="google")
    pdoc.pdoc("polyexport", "trainer", output_directory=Path(sys.argv[1]))


if __name__ == "__main__":
    main()
