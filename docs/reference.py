"""Write docs/cli.md, the reference of every command, from the commands themselves.

python docs/reference.py
"""

from pathlib import Path
from typing import Any

import typer
from typer.core import TyperGroup

from polyexport.cli.app import make_app

PATH = Path(__file__).with_name("cli.md")

_HEAD = """# Commands

Made from the program by `python docs/reference.py`. `-v` prints more and shows tracebacks, `-q` prints nothing but
errors; data goes to stdout, everything else to stderr. The [exit codes](#exit-codes) are at the end of the page.
"""

_EXIT_CODES = """
## Exit codes

Every error is one line with what was got, what was expected and what to do; `-v` adds the traceback.

| code | meaning |
| --- | --- |
| 0 | all done |
| 1 | fatal error |
| 2 | usage: an option, a color, a folder that is empty, missing or in the way |
| 3 | finished, some inputs failed |
| 4 | model or checkpoint refused |
| 5 | output cannot be written |
| 6 | required execution provider unavailable |
| 7 | performance target missed |
| 130, 143 | interrupted, terminated |
"""


def reference() -> str:
    """The whole page."""
    root = typer.main.get_command(make_app())
    assert isinstance(root, TyperGroup)
    sections = [_section(f"polyexport {name}", command) for name, command in root.commands.items()]
    return "".join([_HEAD, *sections, _EXIT_CODES])


def _section(name: str, command: Any) -> str:
    context = typer.Context(command, info_name=name)
    usage = " ".join([name, *command.collect_usage_pieces(context)])
    rows = [_row(parameter, context) for parameter in command.params]
    table = "| | |\n| --- | --- |\n" + "".join(f"{row}\n" for row in rows if row)
    title = name.removeprefix("polyexport ")
    return f"\n## {title}\n\n{command.get_short_help_str(limit=500)}\n\n```text\n{usage}\n```\n\n{table}"


def _row(parameter: Any, context: typer.Context) -> str:
    record = None if parameter.name in ("verbose", "quiet", "help") else parameter.get_help_record(context)
    return f"| `{_escaped(record[0])}` | {_escaped(record[1])} |" if record else ""


def _escaped(text: str) -> str:
    return text.replace("|", "\\|").replace("\n", " ")


if __name__ == "__main__":
    PATH.write_text(reference())
