"""`hemony inspect`: what a network does, shown and proved.

hemony inspect BUNDLE [data=...]                     every part
hemony inspect PART [PART ...] BUNDLE [data=...]     some of them
hemony inspect gradients package.module:factory      anybody's own module; factory() gives (module, inputs)

  gradients    the chain rule, verified: Taylor remainders of every layer, with a wrong gradient as a control
  cost         every product of matrices in a step, m x n x p, there and back, and how near it comes to what the machine can do
  landscape    the loss around the weights beside its Taylor models, and how curved it is: which learning rates can work
  features     of a recogniser: linear probes, filters, maps, where it looks, what pleases its classes
  connections  k of n links, and what those that are not there save; for sound, how many bands are enough

  --out DIR    inspect.html, one page that needs no network, and inspect.json, every figure on it
  --format table|json      a line a layer, or what inspect.json holds, on stdout
  --seed N     of directions and examples (0)

Examples come from the data that the bundle records, or from data=; where that is not there, parts that need none go on without.
Exit code 1: a gradient is wrong.
"""

import argparse
from collections.abc import Callable
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemony.errors import EXIT_CHECK_FAILED, EXIT_FINE, InputError, UsageError

if TYPE_CHECKING:
    from hemony.bundle import Bundle
    from hemony.lens.examples import Examples
    from hemony.lens.subjects import Trial

PARTS = ("gradients", "cost", "landscape", "features", "connections")
FORMATS = ("table", "json")


def main(arguments: list[str]) -> int:
    """The verb."""
    options = parse(arguments)
    from hemony import durable, output
    from hemony.hardware import log
    from hemony.lens import connections, costs, features, gradients, landscape
    from hemony.lens.subjects import DRAWN, FEW
    from hemony.report import whole

    subject = inspected(options)
    log(f"{options.subject}: {subject.about}")
    facts: dict[str, Any] = {"subject": options.subject, "examples": subject.about, "seed": options.seed}
    pages, tables = [], []
    wrong: list[str] = []
    if "gradients" in options.parts:
        judged = gradients.inspect(subject.trials(FEW), options.seed)
        wrong = [check.name for check in judged.wrong]
        facts["gradients"] = judged.facts()
        pages.append(gradients.shown(judged))
        tables.append(gradients_table(judged.rows()))
    if "cost" in options.parts:
        counted = costs.inspect(subject.trials(FEW))
        facts["cost"] = counted.facts()
        pages.append(costs.shown(counted))
        tables.append(cost_table(counted.rows()))
    if "landscape" in options.parts:
        around = landscape.inspect(subject.trials(DRAWN), options.seed, subject.optimizer)
        facts["landscape"] = around.facts()
        pages.append(landscape.shown(around))
        tables.append(landscape_table(facts["landscape"]))
    if "features" in options.parts:
        if subject.bundle and subject.examples:
            grown = features.inspect(subject.bundle, subject.examples, options.seed)
            facts["features"] = grown.facts()
            pages.append(features.shown(grown))
            tables.append(probes_table(facts["features"]["probes"]))
        else:
            log(f"features: left out, for {'want of a recogniser' if not subject.bundle else 'want of data'}")
    if "connections" in options.parts:
        linked = connections.inspect(subject.trials(FEW), subject.bundle, subject.examples, options.seed)
        facts["connections"] = linked.facts()
        pages.append(connections.shown(linked))
        tables.append(connections_table(facts["connections"]))
    if options.out:
        folder = Path(options.out)
        folder.mkdir(exist_ok=True)
        durable.write_json(folder / "inspect.json", facts)
        title = f"Inside {options.subject}"
        body = f'<h1>{escape(title)}</h1><p class="say">{escape(subject.about)}</p>{"".join(pages)}'
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


@dataclass(frozen=True)
class Inspected:
    """What is put to the proof."""

    about: str  # on which examples, in words
    trials: "Callable[[int], list[Trial]]"  # of so many examples
    optimizer: dict[str, Any]  # that trained it; empty for somebody's own module
    bundle: "Bundle | None" = None  # a recogniser's,
    examples: "Examples | None" = None  # with its data


def inspected(options: argparse.Namespace) -> Inspected:
    """The bundle or the module that is named, with examples."""
    from hemony import bundle, melody_bundle
    from hemony.lens import examples, subjects
    from hemony.lens.features import PROBED

    folder = Path(options.subject)
    if ":" in options.subject and not folder.exists():
        own = subjects.of_factory(options.subject)
        return Inspected("on the inputs that it makes", lambda count: own, {})
    if bundle.read_facts(folder)["task"] == bundle.MELODY_TASK:
        melody = melody_bundle.load(folder)
        rendered = subjects.of_melody(melody, options.seed)
        return Inspected("on a rendered recording and melodies", lambda count: rendered, melody.config["optimizer"])
    loaded = bundle.load(folder)
    drawn = None
    count = PROBED if {"features", "connections"} & set(options.parts) else subjects.DRAWN
    try:
        drawn = examples.drawn(loaded, folder, options.overrides, count, options.seed)
        about = f"on {len(drawn.labels)} examples of {drawn.data}"
    except InputError as error:
        if options.overrides:  # what was asked for is not there
            raise
        about = f"on noise: {error}"
    return Inspected(
        about, lambda count: subjects.of_recogniser(loaded, drawn, options.seed, count), loaded.config["optimizer"], loaded, drawn
    )


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


def landscape_table(facts: dict[str, Any]) -> str:
    """A line a direction, and one for the most curved."""
    lines = [f"{'direction':<12}  {'slope':>10}  {'curvature':>10}  first order holds to  second order holds to"]
    for row in facts["slices"]:
        lines.append(
            f"{row['direction']:<12}  {row['slope']:>10.3g}  {row['curvature']:>10.3g}  {row['first_order_radius']:>20.2g}  "
            f"{row['second_order_radius']:>21.2g}"
        )
    for row in facts["hessian"]:
        limit = row["largest_stable_step"]
        lines.append(
            f"largest eigenvalue of the Hessian {row['top_eigenvalue']:.4g}"
            + (f", longest stable step {limit:.3g}" if limit else "")
        )
    return "\n".join(lines)


def probes_table(rows: list[dict[str, Any]]) -> str:
    """A line a layer."""
    width = max([len("layer"), *(len(row["layer"]) for row in rows)])
    lines = [f"{'layer':<{width}}  linear probe  95 %"]
    lines += [
        f"{row['layer']:<{width}}  {row['accuracy']:>12.3f}  {row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}"
        for row in rows
    ]
    return "\n".join(lines)


def connections_table(facts: dict[str, Any]) -> str:
    """A line a layer, and one for each number of bands."""
    width = max([len("layer"), *(len(row["name"]) for row in facts["layers"])])
    lines = [f"{'layer':<{width}}  {'links':>9}  {'possible':>9}  {'parameters saved':>16}  multiplications saved"]
    for row in facts["layers"]:
        lines.append(
            f"{row['name']:<{width}}  {row['links']:>9,}  {row['possible_links']:>9,}  {row['parameters_saved']:>16,}  "
            f"{row['multiplications_saved_share']:>21.1%}"
        )
    if facts["bands"]:
        lines.append("\nbands heard  mean of combinations   best")
        lines += [f"{row['k']:>11}  {row['mean_accuracy']:>20.3f}  {row['best_accuracy']:>5.3f}" for row in facts["bands"]]
    return "\n".join(lines)
