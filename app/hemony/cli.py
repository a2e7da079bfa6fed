"""The command: one table from verb to module. A verb's module is imported when the verb is called."""

import importlib
import io
import os
import sys
from collections.abc import Callable

from hemony.errors import EXIT_BROKEN_PIPE, EXIT_INPUT, EXIT_USAGE, HemonyError, Terminated, UsageError, did_you_mean

VERBS = {
    "train": "train a recogniser: experiment=NAME, or data=image_folder or audio_folder data.root=DIR",
    "evaluate": "judge a bundle on data, or two against each other",
    "classify": "label files, folders, globs, paths from stdin, or a stream of sound",
    "correct": "hear the melody of a recording of bells, find every wrong note, put it right",
    "synth": "render a melody on bells that are off pitch, with the truth of every note",
    "inspect": "what a network does, shown and proved: its gradients verified layer by layer",
    "doctor": "what is wrong with this installation, and the exact fix",
}
USAGE = f"""\
Hemony trains, evaluates and ships image and audio recognisers from one command.

usage: hemony VERB ...

{chr(10).join(f"  {verb:<10} {words}" for verb, words in VERBS.items())}

`hemony VERB --help` says more. Results go to stdout, everything else to stderr.
Exit codes: 0 fine, 1 a result that failed a stated check, 2 bad usage or config, 3 bad input, 130 stopped by Ctrl-C, 141 where the reader
of the output has gone, 143 stopped by SIGTERM.
"""


def main(arguments: list[str] | None = None) -> int:
    """Run one command; the exit code is returned. What the user can mend is one line on stderr, never a traceback."""
    arguments = list(sys.argv[1:] if arguments is None else arguments)
    for stream in (sys.stdin, sys.stdout, sys.stderr):  # a file's name may be no text: it must not end a batch
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="surrogateescape" if stream is sys.stdin else "backslashreplace")
    try:
        return dispatch(arguments)
    except (HemonyError, Terminated) as error:
        print(f"hemony: {error}", file=sys.stderr)
        return error.exit_code
    except BrokenPipeError:  # the reader of our output has gone, as `head` does
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_BROKEN_PIPE
    except OSError as error:  # a full disk, a folder that may not be read
        where = f"{error.filename}: " if error.filename is not None else ""
        print(f"hemony: {where}{error.strerror or error}", file=sys.stderr)
        return EXIT_INPUT
    except KeyboardInterrupt:
        return 130


def dispatch(arguments: list[str]) -> int:
    if not arguments or arguments[0] in ("-h", "--help", "help"):
        print(USAGE, end="")
        return 0 if arguments else EXIT_USAGE
    if arguments[0] in ("--version", "-V"):
        import hemony

        print(f"hemony {hemony.__version__}")
        return 0
    if arguments[0] in ("-sc", "--shell-completion"):
        return complete(arguments[1:])
    verb, rest = arguments[0], arguments[1:]
    if verb not in VERBS:
        raise UsageError(f"'{verb}' is not a verb of hemony{did_you_mean(verb, VERBS)}")
    module = importlib.import_module(f"hemony.{verb}")
    if rest and rest[0] in ("-h", "--help"):
        print(module.__doc__)
        return 0
    run: Callable[[list[str]], int] = module.main
    return run(rest)


def complete(request: list[str]) -> int:
    """Shell completion: `eval "$(hemony -sc install=bash)"` (or zsh, fish). The verb is completed here, the rest by Hydra."""
    line = os.environ.get("COMP_LINE", "")
    words = line.split()
    shells = ("bash", "zsh", "fish")
    if not any(
        part.partition("=")[0] in ("install", "uninstall", "query") and part.partition("=")[2] in shells for part in request
    ):
        raise UsageError(f"-sc {' '.join(request)}: expected install=, uninstall= or query= one of {', '.join(shells)}")
    if words and words[-1].startswith("-"):  # Hydra would answer with an error
        return 0
    if any(part.startswith("query=") for part in request):
        if len(words) < 2 or (len(words) == 2 and not line.endswith(" ")):
            print("\n".join(verb for verb in VERBS if verb.startswith(words[1] if len(words) > 1 else "")))
            return 0
        if words[1] not in ("train", "evaluate"):
            return 0
        os.environ["COMP_LINE"] = line.replace(f"{words[1]} ", "", 1)
    import contextlib
    import io

    from hemony import compose

    root = words[1] if len(words) > 1 and words[1] in compose.ROOTS else "train"
    with contextlib.redirect_stdout(io.StringIO()) as printed:
        compose.run_hydra(root, ["-sc", *request], lambda job: None)
    for answers in printed.getvalue().splitlines():  # words in a line for bash, a line each for other shells
        print(*(answer for answer in answers.split(" ") if not answer.endswith("_schema")))  # the schemas are not for users
    return 0
