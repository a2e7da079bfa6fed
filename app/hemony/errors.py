"""What can go wrong in a way the user can mend, and the exit code that each kind ends with."""

import signal
from collections.abc import Iterable

EXIT_FINE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_BROKEN_PIPE = 141  # as if SIGPIPE had ended the process

SHOWN = 40  # choices in a message


class HemonyError(Exception):
    """A failure told in one line: the value, what was expected, and the remedy. `cli.main` prints it, without a traceback."""

    exit_code = EXIT_CHECK_FAILED


def one_line(error: BaseException, most: int = 200) -> str:
    """An error of somebody else's code, as words in a line of ours."""
    return " ".join(f"{type(error).__name__}: {error}".split())[:most]


def did_you_mean(wrong: str, choices: Iterable[str], otherwise: str | None = None) -> str:
    """`; did you mean 'x'?` for the nearest of `choices`; where none is near `otherwise`, or the first of them if that is not given."""
    import difflib  # only where something is wrong

    choices = list(choices)
    near = difflib.get_close_matches(wrong, choices, n=1)
    if otherwise is None:
        otherwise = f"; expected one of: {', '.join(choices[:SHOWN])}"
    return f"; did you mean '{near[0]}'?" if near else otherwise


class UsageError(HemonyError):
    """The command line or the configuration is wrong; nothing has been read or written yet."""

    exit_code = EXIT_USAGE


class InputError(HemonyError):
    """An image, recording, folder or bundle cannot be used as it is."""

    exit_code = EXIT_INPUT


class Terminated(BaseException):
    """A signal ended the work in good order. The exit code is 128 + its number: 143 for SIGTERM, 130 for SIGINT.

    Not an Exception: it may come anywhere, and who handles errors of decoding or of the network must not take it for one of them.
    """

    def __init__(self, number: int, rest: str) -> None:
        super().__init__(f"stopped by {signal.Signals(number).name}: {rest}")
        self.exit_code = 128 + number
