"""`hemony inspect`: what a network does, shown and proved.

hemony inspect BUNDLE [data=...]                     every part
hemony inspect PART [PART ...] BUNDLE [data=...]     some of them
hemony inspect gradients package.module:factory      anybody's own module; factory() gives (module, inputs)

  gradients    the chain rule, verified: Taylor remainders of every layer, with a wrong gradient as a control
  cost         every product of matrices in a step, m x n x p, there and back, and how near it comes to what the machine can do
  flow         gradients and dead units layer by layer, over the training where trainer.flow=true recorded them
  landscape    the loss around the weights beside its Taylor models, and how curved it is: which learning rates can work
  features     of a recogniser: linear probes, filters, maps, where it looks, what pleases its classes
  connections  k of n links, and what those that are not there save; for sound, how many bands are enough
  harmonic     of sound: clips rebuilt from their first partials or bands, to listen to, beside what the recogniser makes of them

  --retrain    of `connections`, for model=lenet5 and model=spectrogram: trained anew with every k of n, three seeds each, by the
               bundle's own recipe (trainer.max_epochs=N and other values of it may be changed)
  --out DIR    inspect.html, one page that needs no network, and inspect.json, every figure on it
  --format table|json      a line a layer, or what inspect.json holds, on stdout
  --seed N     of directions and examples (0)

Examples come from the data that the bundle records, or from data=; where that is not there, parts that need none go on without.
Exit code 1: a gradient is wrong; 3: a part that was named could not be done, the others are there.
"""

import argparse
from html import escape
from pathlib import Path
from typing import Any

from hemony.errors import EXIT_CHECK_FAILED, EXIT_FINE, EXIT_INPUT, InputError, UsageError, did_you_mean, one_line

PARTS = ("gradients", "cost", "flow", "landscape", "features", "connections", "harmonic")
FORMATS = ("table", "json")


def main(arguments: list[str]) -> int:
    """The verb."""
    options = parse(arguments)
    from hemony import durable, output
    from hemony.hardware import log
    from hemony.lens import parts
    from hemony.report import whole

    subject = parts.inspected(options.subject, options.parts, options.overrides, options.seed, options.retrain)
    log(f"{options.subject}: {subject.about}")
    found: dict[str, parts.Part] = {}
    failed = left_out = False
    for name in options.parts:
        try:
            part = parts.PARTS[name](subject, options.seed)
        except (InputError, RuntimeError, TypeError, ValueError, LookupError) as error:  # what other parts found is not lost
            log(f"hemony: {name} cannot be done: {one_line(error)}")
            failed = True
            continue
        if isinstance(part, str):
            log(f"{name}: left out, {part}")
            left_out = True
        else:
            found[name] = part
    facts: dict[str, Any] = {"subject": options.subject, "examples": subject.about, "seed": options.seed}
    facts |= {name: part.facts for name, part in found.items()}
    if options.out:
        folder = Path(options.out)
        folder.mkdir(exist_ok=True)
        durable.write_json(folder / "inspect.json", facts)
        title = f"Inside {options.subject}"
        body = f'<h1>{escape(title)}</h1><p class="say">{escape(subject.about)}</p>' + "".join(part.page for part in found.values())
        durable.write_text(folder / "inspect.html", whole(title, body))
    print(output.as_json(facts, indent=1) if options.format == "json" else "\n\n".join(part.table for part in found.values()))
    failed |= left_out and options.chosen
    wrong = [name for part in found.values() for name in part.wrong]
    if wrong:
        log(
            f"hemony: the gradient of {', '.join(wrong)} is wrong: the fault is there, or in what comes after and has no weights of its own"
        )
        return EXIT_CHECK_FAILED
    return EXIT_INPUT if failed else EXIT_FINE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony inspect", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--format", default="table", choices=FORMATS)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--retrain", action="store_true")
    options = parser.parse_intermixed_args(arguments)
    options.overrides = [word for word in options.words if "=" in word]
    words = [word for word in options.words if "=" not in word]
    options.parts = [word for word in words if word in PARTS and not Path(word, "bundle.json").is_file()]
    subjects = [word for word in words if word not in options.parts]
    if len(subjects) == 2:
        for word in subjects:
            if told := did_you_mean(word, PARTS, ""):
                raise UsageError(f"'{word}' is no part{told}")
    if len(subjects) != 1:
        raise UsageError(
            f"name one bundle, or a factory; {len(subjects)} given; usage: hemony inspect [PART ...] BUNDLE [data=...]"
        )
    options.subject = subjects[0]
    options.chosen = bool(options.parts)  # and not just all there are
    options.parts = options.parts or list(PARTS)
    if options.retrain and "connections" not in options.parts:
        raise UsageError("--retrain belongs to connections: `hemony inspect connections --retrain BUNDLE`")
    if options.out:
        from hemony.media.files import check_folder

        check_folder(Path(options.out))
        if Path(options.out).exists() and not Path(options.out).is_dir():
            raise UsageError(f"--out {options.out} is a file; name a folder")
    return options


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony inspect [PART ...] BUNDLE [data=...]")
