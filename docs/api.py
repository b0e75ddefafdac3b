"""Write the API reference of polyexport and trainer as HTML.

python docs/api.py build/docs
"""

import pkgutil
import sys
from pathlib import Path

import pdoc

import polyexport
import trainer


def main() -> None:
    """Render every module into the folder that the command line names."""
    for name in polyexport.__all__:  # they are imported on first use, and pdoc looks for them among the attributes
        setattr(polyexport, name, getattr(polyexport, name))
    modules = [package.__name__ for package in (polyexport, trainer)]
    for package in (polyexport, trainer):
        # A package with __all__ hides its modules from pdoc, so each is named.
        modules += [module.name for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*modules, output_directory=Path(sys.argv[1]))


if __name__ == "__main__":
    main()
