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
    modules: list[str] = []
    for package in (polyexport, trainer):
        names = [each.name for each in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
        for name in [package.__name__, *names]:
            # pdoc finds the modules of a package by itself, unless the package has __all__.
            if not modules or name not in pdoc.extract.walk_specs(modules):
                modules.append(name)
    pdoc.render.configure(docformat="google")
    pdoc.pdoc(*modules, output_directory=Path(sys.argv[1]))


if __name__ == "__main__":
    main()
