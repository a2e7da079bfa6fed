"""What the user names on the command line as files: paths, folders, globs, and paths on stdin."""

import glob
import os
from collections import Counter
from collections.abc import Callable, Iterable, Iterator
from pathlib import Path

Source = tuple[Path, str]  # and what is wrong with it, in a line, where that is known already
Find = Callable[[Path], tuple[list[Path], Counter[str]]]


def expand(sources: list[str], stdin: Iterable[str], find: Find, nouns: str) -> Iterator[Source]:
    """Files as they are, folders and globs opened up, `-` as the lines of `stdin`; each with what is already wrong with it, or "".

    `find` lists the files of the wanted kind below a folder; `nouns` names that kind.
    """
    for source in sources:
        if source == "-":
            yield from ((Path(line.rstrip("\n")), "") for line in stdin if line.strip())
            continue
        path = Path(os.path.expanduser(source))
        if os.path.isdir(path):
            found, _ = find(path)
            yield from ((file, "") for file in found)
            if not found:
                yield path, f"{source}: a folder without {nouns}"
        elif glob.has_magic(source) and not os.path.exists(path):
            matches = [match for match in sorted(glob.glob(str(path), recursive=True)) if not os.path.isdir(match)]
            yield from ((Path(match), "") for match in matches)
            if not matches:
                yield path, f"{source}: nothing matches"
        else:
            yield path, ""
