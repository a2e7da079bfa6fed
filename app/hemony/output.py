"""Results on stdout, as a table for people or as JSON, JSON lines or CSV for programs."""

import csv
import io
import json
import sys
from collections.abc import Iterable
from typing import Any

from hemony.errors import UsageError


def take_format(arguments: list[str], default: str, formats: Iterable[str]) -> tuple[list[str], str]:
    """The arguments without `--format X` or `--format=X`, and X. Raises UsageError for another X."""
    rest, form, waiting = [], default, False
    for argument in arguments:
        if waiting:
            form, waiting = argument, False
        elif argument == "--format":
            waiting = True
        elif argument.startswith("--format="):
            form = argument.removeprefix("--format=")
        else:
            rest.append(argument)
    formats = list(formats)
    if waiting or form not in formats:
        raise UsageError(f"--format {'needs a value' if waiting else form}; expected one of: {', '.join(formats)}")
    return rest, form


def print_rows(rows: list[dict[str, Any]], form: str) -> None:
    """One flat object, or one a row: `json` prints a single row as an object and several as a list."""
    if form == "json":
        print(as_json(rows[0] if len(rows) == 1 else rows, indent=1))
    elif form == "jsonl":
        for row in rows:
            print(as_json(row))
    elif form == "csv":
        print(as_csv(rows), end="")
    else:
        print_table(rows)


def as_json(value: Any, indent: int | None = None) -> str:
    """JSON as stdout can take it: letters as they are in UTF-8, escaped in an encoding that may lack them."""
    escape = (sys.stdout.encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=escape, allow_nan=False)


def as_csv(rows: list[dict[str, Any]]) -> str:
    """A header and a line a row; the columns are all keys in the order in which they first appear."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys(key for row in rows for key in row)), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class RowWriter:
    """Rows as they come: JSON lines, CSV and table at once, a JSON list when the block ends."""

    def __init__(self, form: str, columns: tuple[str, ...]) -> None:
        self.form = form
        self.columns = columns
        self.rows: list[dict[str, Any]] = []
        self._csv = csv.writer(sys.stdout, lineterminator="\n")

    def __enter__(self) -> "RowWriter":
        if self.form == "csv":
            self._csv.writerow(self.columns)
        return self

    def write(self, row: dict[str, Any]) -> None:
        if self.form == "jsonl":
            print(as_json(row), flush=True)
        elif self.form == "csv":
            self._csv.writerow([flat(row.get(column, "")) for column in self.columns])
        elif self.form == "json":
            self.rows.append(row)
        else:
            print(line(row), flush=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.form == "json" and kind is None:
            print(as_json(self.rows, indent=1))


def flat(value: Any) -> Any:
    """A list of labels as one CSV cell: `cat 0.91; dog 0.07`."""
    if isinstance(value, list):
        return "; ".join(f"{entry['label']} {entry['confidence']:.4f}" for entry in value)
    return value


def line(row: dict[str, Any]) -> str:
    """A classified file for people."""
    if "error" in row:
        return f"{'':>14}  error: {row['error']}"
    others = ", ".join(f"{entry['label']} {entry['confidence']:.1%}" for entry in row["top"][1:3])
    return f"{row['label']:>14} {row['confidence']:6.1%}  {row['path']}  ({others})"


def print_table(rows: list[dict[str, Any]]) -> None:
    """A column a row, since the rows are long: keys down the left side."""
    from rich.console import Console
    from rich.table import Table

    table = Table(show_header=len(rows) > 1, box=None, pad_edge=False)
    table.add_column("")
    for number, _ in enumerate(rows):
        table.add_column(str(number), justify="right")
    for key in dict.fromkeys(key for row in rows for key in row):
        table.add_row(key, *(shown(row.get(key)) for row in rows))
    Console(file=sys.stdout, soft_wrap=True, highlight=False, markup=False).print(table)


def shown(value: Any) -> str:
    """A value for people: four digits behind the point."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
