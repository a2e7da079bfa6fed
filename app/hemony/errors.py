"""What can go wrong in a way the user can mend, and the exit code that each kind ends with."""

import signal

EXIT_FINE = 0
EXIT_CHECK_FAILED = 1
EXIT_USAGE = 2
EXIT_INPUT = 3
EXIT_TERMINATED = 143


class HemonyError(Exception):
    """A failure told in one line: the value, what was expected, and the remedy. `cli.main` prints it, without a traceback."""

    exit_code = EXIT_CHECK_FAILED


class UsageError(HemonyError):
    """The command line or the configuration is wrong; nothing has been read or written yet."""

    exit_code = EXIT_USAGE


class InputError(HemonyError):
    """An image, recording, folder or bundle cannot be used as it is."""

    exit_code = EXIT_INPUT


class Terminated(HemonyError):
    """A signal ended the work in good order. The exit code is 128 + its number: 143 for SIGTERM, 130 for SIGINT."""

    exit_code = EXIT_TERMINATED

    @classmethod
    def by(cls, number: int, rest: str) -> "Terminated":
        error = cls(f"stopped by {signal.Signals(number).name}: {rest}")
        error.exit_code = 128 + number
        return error
