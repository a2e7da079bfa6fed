"""`hemony inspect`: what a network does, shown and proved.

hemony inspect BUNDLE [data=...]                     every part
hemony inspect PART [PART ...] BUNDLE [data=...]     some of them
hemony inspect gradients package.module:factory      anybody's own module; factory() gives (module, inputs)

  gradients    the chain rule, verified: Taylor remainders of every layer, with a wrong gradient as a control
  cost         every product of matrices in a step, m x n x p, there and back, and how near it comes to what the machine can do

  --out DIR    inspect.html, one page that needs no network, and inspect.json, every figure on it
  --format table|json      a line a layer, or what inspect.json holds, on stdout
  --seed N     of directions and examples (0)

Examples come from the data that the bundle records, or from data=; where that is not there, parts that need none go on without.
Exit code 1: a gradient is wrong.
"""

import argparse
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemony.errors import EXIT_CHECK_FAILED, EXIT_FINE, InputError, UsageError

if TYPE_CHECKING:
    from hemony.lens.subjects import Trial

PARTS = ("gradients", "cost")
FORMATS = ("table", "json")


def main(arguments: list[str]) -> int:
    """The verb."""
    options = parse(arguments)
    from hemony import durable, output
    from hemony.hardware import log
    from hemony.lens import costs, gradients
    from hemony.report import whole

    trials, about = trials_of(options)
    log(f"{options.subject}: {about}")
    facts: dict[str, Any] = {"subject": options.subject, "examples": about, "seed": options.seed}
    pages, tables = [], []
    wrong: list[str] = []
    if "gradients" in options.parts:
        judged = gradients.inspect(trials, options.seed)
        wrong = [check.name for check in judged.wrong]
        facts["gradients"] = judged.facts()
        pages.append(gradients.shown(judged))
        tables.append(gradients_table(judged.rows()))
    if "cost" in options.parts:
        counted = costs.inspect(trials)
        facts["cost"] = counted.facts()
        pages.append(costs.shown(counted))
        tables.append(cost_table(counted.rows()))
    if options.out:
        folder = Path(options.out)
        folder.mkdir(exist_ok=True)
        durable.write_json(folder / "inspect.json", facts)
        title = f"Inside {options.subject}"
        body = f'<h1>{escape(title)}</h1><p class="say">{escape(about)}</p>{"".join(pages)}'
        durable.write_text(folder / "inspect.html", whole(title, body))
    print(output.as_json(facts, indent=1) if options.format == "json" else "\n\n".join(tables))
    if wrong:
        log(f"hemony: the gradient of {', '.join(wrong)} is wrong")
        return EXIT_CHECK_FAILED
    return EXIT_FINE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony inspect", usage=__doc__, add_help=False, allow_abbrev=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("words", nargs="*")
    parser.add_argument("--out")
    parser.add_argument("--format", default="table", choices=FORMATS)
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_intermixed_args(arguments)
    options.overrides = [word for word in options.words if "=" in word]
    words = [word for word in options.words if "=" not in word]
    options.parts = [word for word in words if word in PARTS and not Path(word, "bundle.json").is_file()]
    subjects = [word for word in words if word not in options.parts]
    if len(subjects) != 1:
        raise UsageError(
            f"name one bundle, or a factory; {len(subjects)} given; usage: hemony inspect [PART ...] BUNDLE [data=...]"
        )
    options.subject = subjects[0]
    options.parts = options.parts or list(PARTS)
    if options.out:
        from hemony.media.files import check_folder

        check_folder(Path(options.out))
        if Path(options.out).exists() and not Path(options.out).is_dir():
            raise UsageError(f"--out {options.out} is a file; name a folder")
    return options


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony inspect [PART ...] BUNDLE [data=...]")


def trials_of(options: argparse.Namespace) -> "tuple[list[Trial], str]":
    """What is put to the proof, and on what, in words."""
    from hemony import bundle, melody_bundle
    from hemony.lens import examples, subjects

    folder = Path(options.subject)
    if ":" in options.subject and not folder.exists():
        return subjects.of_factory(options.subject), "on the inputs that it makes"
    if bundle.read_facts(folder)["task"] == bundle.MELODY_TASK:
        return subjects.of_melody(melody_bundle.load(folder), options.seed), "on a rendered recording and melodies"
    loaded = bundle.load(folder)
    try:
        drawn = examples.drawn(loaded, folder, options.overrides, subjects.AT_ONCE, options.seed)
    except InputError as error:
        if options.overrides:  # what was asked for is not there
            raise
        return subjects.of_recogniser(loaded, None, options.seed), f"on noise: {error}"
    return subjects.of_recogniser(loaded, drawn, options.seed), f"on {len(drawn.labels)} examples of {drawn.data}"


def gradients_table(rows: list[dict[str, Any]]) -> str:
    """A line a layer, for people."""
    width = max(len("layer"), *(len(row["name"]) for row in rows))
    lines = [f"{'layer':<{width}}  {'gradient':<13}  {'order':>6}  {'control':>7}  relative error"]
    for row in rows:
        orders = ["" if row[key] is None else f"{row[key]:.2f}" for key in ("order", "control_order")]
        error = f"{row['relative_error']:.0e}" if row["verdict"] != "zero gradient" else ""
        lines.append(f"{row['name']:<{width}}  {row['verdict']:<13}  {orders[0]:>6}  {orders[1]:>7}  {error}".rstrip())
    return "\n".join(lines)


def cost_table(rows: list[dict[str, Any]]) -> str:
    """A line a layer, for people."""
    width = max(len("layer"), *(len(row["name"]) for row in rows))
    lines = [f"{'layer':<{width}}  {'parameters':>10}  {'MAC':>13}  {'FLOP/byte':>9}  {'ms there':>8}  {'ms back':>8}  of the roof"]
    for row in rows:
        lines.append(
            f"{row['name']:<{width}}  {row['parameters']:>10,}  {row['macs']:>13,}  {row['flops_a_byte']:>9.1f}  {1e3 * row['forward_s']:>8.3f}  "
            f"{1e3 * row['backward_s']:>8.3f}  {row['roofline_share']:>11.0%}"
        )
    return "\n".join(lines)
