"""Results, as a table for people or as JSON, JSON lines or CSV for programs."""

import csv
import io
import json
import sys
from collections.abc import Iterable
from typing import Any, TextIO

from hemony.errors import UsageError

WIDE = 10_000  # columns of a terminal, so that nothing is cut off: it wraps by itself
RAVEN = ("Selection", "View", "Channel", "Begin Time (s)", "End Time (s)", "Begin Path", "Label", "Score")


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


def print_rows(rows: list[dict[str, Any]], form: str, columns: tuple[str, ...] = ()) -> None:
    """One flat object, or one a row: `json` prints a single row as an object and several as a list. `columns`, where there may be no row."""
    if form == "json":
        print(as_json(rows[0] if len(rows) == 1 else rows, indent=1))
    elif form == "jsonl":
        for row in rows:
            print(as_json(row))
    elif form == "csv":
        print(as_csv(rows, columns), end="")
    else:
        print_table(rows)


def as_json(value: Any, indent: int | None = None, file: TextIO | None = None) -> str:
    """JSON as the file, stdout if none is given, can take it: letters as they are in UTF-8, escaped in an encoding that may lack them."""
    escape = ((file or sys.stdout).encoding or "").lower().replace("-", "") != "utf8"
    return json.dumps(value, indent=indent, ensure_ascii=escape, allow_nan=False)


def as_csv(rows: list[dict[str, Any]], columns: tuple[str, ...] = ()) -> str:
    """A header and a line a row; the columns are all keys in the order in which they first appear."""
    text = io.StringIO()
    writer = csv.DictWriter(text, list(dict.fromkeys((*columns, *(key for row in rows for key in row)))), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


class RowWriter:
    """Rows as they come, into any text file; `done` of them are in it already, and its header if it is `begun`."""

    def __init__(self, form: str, columns: tuple[str, ...], file: TextIO | None = None, done: int = 0, begun: bool = False) -> None:
        self.form = form
        self.columns = columns
        self.file = sys.stdout if file is None else file
        self.count = done
        self.begun = begun
        self._csv = csv.writer(self.file, lineterminator="\n")

    def __enter__(self) -> "RowWriter":
        if not self.begun:
            if self.form == "csv":
                self._csv.writerow(self.columns)
            elif self.form == "raven":
                print(*RAVEN, sep="\t", file=self.file)
        return self

    def write(self, row: dict[str, Any]) -> None:
        self.count += 1
        if self.form == "jsonl":
            print(as_json(row, file=self.file), file=self.file, flush=True)
        elif self.form == "csv":
            self._csv.writerow([flat(row.get(column, "")) for column in self.columns])
        elif self.form == "json":
            print("[" if self.count == 1 else ",", as_json(row, file=self.file), sep="\n", end="", file=self.file)
        elif self.form in ("audacity", "raven"):
            self.mark(row)
        else:
            print(line(row), file=self.file, flush=True)

    def mark(self, row: dict[str, Any]) -> None:
        """A stretch of a recording as Audacity or Raven reads it; a file that could not be read has none, and is told on stderr."""
        if "error" in row:
            print(f"hemony: {row['error']}", file=sys.stderr)
        elif self.form == "audacity":
            print(f"{row['start_s']:.6f}", f"{row['end_s']:.6f}", row["label"], sep="\t", file=self.file, flush=True)
        else:
            span = (f"{row['start_s']:.6f}", f"{row['end_s']:.6f}")
            named = (row.get("path", ""), row["label"], f"{row['confidence']:.4f}")
            print(self.count, "Spectrogram 1", 1, *span, *named, sep="\t", file=self.file, flush=True)

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        if self.form == "json" and kind is None:
            print("\n]" if self.count else "[]", file=self.file)


def flat(value: Any) -> Any:
    """A list of labels as one CSV cell: `cat 0.91; dog 0.07`."""
    if isinstance(value, list):
        return "; ".join(f"{entry['label']} {entry['confidence']:.4f}" for entry in value)
    return value


def line(row: dict[str, Any]) -> str:
    """A classified file for people."""
    if "error" in row:
        return f"{'':>14}  error: {row['error']}"
    others = ", ".join(f"{entry['label']} {entry['confidence']:.1%}" for entry in row.get("top", [])[1:3])
    span = f"{row['start_s']:9.2f} - {row['end_s']:9.2f} s  " if "start_s" in row else ""
    return f"{row['label']:>14} {row['confidence']:6.1%}  {span}{row.get('path', '')}{f'  ({others})' if others else ''}"


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
    Console(file=sys.stdout, width=WIDE, highlight=False, markup=False).print(table)


def shown(value: Any) -> str:
    """A value for people: four digits behind the point."""
    if value is None:
        return ""
    return f"{value:.4f}" if isinstance(value, float) else str(value)
