"""Write polyexport/bench/report.schema.json, the JSON Schema of the reports of `polyexport bench`, from their types.

python docs/report_schema.py
"""

import json
from pathlib import Path

from polyexport.bench.schema import report_schema

PATH = Path(__file__).parents[1] / "polyexport" / "bench" / "report.schema.json"


def text() -> str:
    """The whole file."""
    return json.dumps(report_schema(), indent=2) + "\n"


if __name__ == "__main__":
    PATH.write_text(text())
