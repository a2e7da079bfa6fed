"""The page of a run: one HTML file that needs no network and that people like to look at."""

import json
from collections.abc import Iterable
from dataclasses import dataclass
from html import escape
from typing import Any

import numpy as np

from hemony import charts
from hemony.metrics import Evaluation


@dataclass(frozen=True)
class Mistake:
    """One wrong answer: what was seen or heard, as HTML, what it is, what it was called and how surely."""

    exhibit: str
    truth: str
    prediction: str
    confidence: float
    name: str


@dataclass(frozen=True)
class RunReport:
    title: str
    noun: str  # what one example is
    evaluation: Evaluation
    history: list[dict[str, float]]  # a row an epoch
    mistakes: list[Mistake]
    data: dict[str, Any]  # splits: examples by part and class; warnings and decisions: lines
    config: dict[str, Any]
    training: dict[str, Any]


STYLE = """
:root{--ink:#1d2730;--soft:#66727d;--line:#dfe4e8;--paper:#fff;--card:#f7f8f9;--accent:#0b7285;--warm:#c2571a}
@media(prefers-color-scheme:dark){:root{--ink:#e6ebef;--soft:#98a4ae;--line:#313b44;--paper:#151a1f;--card:#1c2329;--accent:#4cc2d4;
--warm:#f0955a}}
*{box-sizing:border-box}body{margin:0;background:var(--paper);color:var(--ink);font:16px/1.55 system-ui,sans-serif}
main{max-width:1060px;margin:0 auto;padding:2.5rem 1.2rem 4rem}h1{font-size:2.1rem;line-height:1.2;margin:0 0 .4rem;font-weight:650}
h2{font-size:1.25rem;margin:3rem 0 .3rem;font-weight:600}p{margin:.3rem 0}.say{color:var(--soft);max-width:44rem;margin-bottom:1rem}
.row{display:grid;grid-template-columns:repeat(auto-fit,minmax(300px,1fr));gap:1.4rem}.card{background:var(--card);border-radius:10px;
padding:1rem 1.1rem;min-width:0}.facts{display:grid;grid-template-columns:repeat(auto-fit,minmax(150px,1fr));gap:1rem;margin:1.6rem 0}
.facts b{display:block;font-size:1.5rem;font-weight:600;font-variant-numeric:tabular-nums}.facts span{color:var(--soft);font-size:.86rem}
.chart,.heat,.interval{width:100%;height:auto;display:block}.interval{height:14px;margin-top:.6rem}.grid{stroke:var(--line)}
text{fill:var(--soft);font:11px system-ui,sans-serif}.count{fill:var(--ink);font-size:12px}.name{font-size:11.5px}polyline{fill:none;
stroke-width:2}.first{stroke:var(--accent)}.second{stroke:var(--warm)}.third{stroke:var(--soft)}.diagonal{stroke:var(--soft);
stroke-dasharray:4 4;stroke-width:1}.bar,.range,.right{fill:var(--accent)}.bar{fill-opacity:.75}.range{fill-opacity:.35}
.value,.dot{fill:var(--accent)}.dot{fill-opacity:.7;stroke:none}.track{fill:var(--line)}.wrong{fill:var(--warm)}.scale{display:flex;justify-content:space-between;
color:var(--soft);font-size:.75rem}.legend span{display:inline-block;margin-right:1.1rem;font-size:.82rem;color:var(--soft);
border-top:3px solid;padding-top:2px}.legend .first{border-color:var(--accent)}.legend .second{border-color:var(--warm)}
table{border-collapse:collapse;width:100%;font-variant-numeric:tabular-nums;font-size:.9rem}th{cursor:pointer;color:var(--soft);
font-weight:500}td,th{text-align:right;padding:.28rem .5rem;border-bottom:1px solid var(--line)}td:first-child,th:first-child{
text-align:left}.scroll{overflow-x:auto;max-height:30rem}.wall{display:grid;grid-template-columns:repeat(auto-fill,minmax(118px,1fr));
gap:1rem}figure{margin:0;font-size:.82rem;line-height:1.35;overflow-wrap:anywhere}img{width:100%;border-radius:6px;display:block;margin-bottom:.35rem}audio{width:100%;height:28px;margin-bottom:.35rem}
.pixels{image-rendering:pixelated}.note{border-left:3px solid var(--warm);padding-left:.8rem}.choice{border-left:3px solid var(--accent);
padding-left:.8rem}pre{background:var(--card);border-radius:10px;padding:1rem;overflow-x:auto;font-size:.8rem}
@media print{body{font-size:11px}main{max-width:none}h2{break-after:avoid}.card,figure,tr{break-inside:avoid}.card:has(table){break-inside:auto}
.row{display:block}.card{margin:.8rem 0}.scroll{max-height:none;overflow:visible}.chart,.heat{max-width:14cm}pre{white-space:pre-wrap}table{font-size:9px}}
"""

SORT = """
document.querySelectorAll('th').forEach(head=>head.onclick=()=>{const body=head.closest('table').tBodies[0];
const up=head.dataset.up!=='1';head.dataset.up=up?'1':'0';const value=row=>row.cells[head.cellIndex].textContent.replaceAll(',','');
[...body.rows].sort((a,b)=>(up?1:-1)*(value(a)-value(b)||value(a).localeCompare(value(b))))
.forEach(row=>body.append(row))});
"""


def render(run: RunReport) -> str:
    """The whole page as text."""
    sections = [
        headline(run),
        training_curves(run.history),
        confusion(run.evaluation, run.noun),
        calibration(run.evaluation, given=run.config.get("temperature") is not None),
        mistakes(run.mistakes),
        classes(run.evaluation, run.noun),
        data_summary(run.data, run.noun),
        record(run),
    ]
    return whole(run.title, "".join(sections))


def whole(title: str, body: str) -> str:
    """A page that needs nothing else, not even a network."""
    return (
        f'<!doctype html><html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width,initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body><main>{body}</main><script>{SORT}</script></body></html>\n"
    )


def a(noun: str) -> str:
    """The noun with its article."""
    return f"{'an' if noun[0] in 'aeiou' else 'a'} {noun}"


def section(title: str, say: str, *cards: str) -> str:
    """A heading, one sentence that says what to see, and cards side by side."""
    filled = "".join(f'<div class="card">{card}</div>' for card in cards if card)
    return f'<section><h2>{escape(title)}</h2><p class="say">{escape(say)}</p><div class="row">{filled}</div></section>'


def table(heads: Iterable[str], rows: Iterable[Iterable[str]]) -> str:
    """Words in rows under heads, sorted by a click; whatever they are, they are text."""

    def row(words: Iterable[str], tag: str) -> str:
        return "<tr>" + "".join(f"<{tag}>{escape(word)}</{tag}>" for word in words) + "</tr>"

    body = "".join(row(words, "td") for words in rows)
    return f'<div class="scroll"><table><thead>{row(heads, "th")}</thead><tbody>{body}</tbody></table></div>'


def headline(run: RunReport) -> str:
    metrics, training = run.evaluation.metrics, run.training
    wrong = metrics["total"] - metrics["correct"]
    facts = {
        "top-5 accuracy": f"{metrics['top5_accuracy']:.2%}",
        "balanced accuracy": f"{metrics['balanced_accuracy']:.2%}",
        "calibration error before → after": f"{metrics['ece_uncalibrated']:.3f} → {metrics['ece']:.3f}",
        "parameters": f"{training['parameters']:,}",
        "training time": f"{training['train_time_s']:,.0f} s",
        "seed": str(training["seed"]),
    }
    boxes = "".join(f"<div><b>{escape(value)}</b><span>{escape(name)}</span></div>" for name, value in facts.items())
    low, high = metrics["accuracy_low"], metrics["accuracy_high"]
    return (
        f"<h1>{escape(run.title)}</h1><p class=say>{metrics['correct']:,} of {metrics['total']:,} test {run.noun}s are right, {wrong:,} wrong. "
        f"With 95 % confidence the accuracy lies between {low:.2%} and {high:.2%} (Wilson).</p>"
        f'{charts.interval(metrics["accuracy"], low, high)}<div class="facts">{boxes}</div>'
    )


def training_curves(history: list[dict[str, float]]) -> str:
    def line(key: str) -> list[charts.Point]:
        return [(row["epoch"], row[key]) for row in history if key in row]

    losses = {name: line(key) for name, key in (("training", "train_loss"), ("validation", "val_loss")) if line(key)}
    drawn = [
        charts.curves(losses, "epoch", "loss (nats)", "Loss over the epochs"),
        charts.curves({"validation": line("val_accuracy")}, "epoch", "accuracy", "Validation accuracy over the epochs"),
        charts.curves({"rate": line("learning_rate")}, "epoch", "learning rate", "Learning rate over the epochs", from_zero=True),
    ]
    if len(history) < 2:
        return ""
    return section(
        "Training",
        "Both losses should fall together; training below validation for long is overfitting. Training loss includes augmentation and "
        "label smoothing, validation loss does not.",
        *drawn,
    )


def confusion(evaluation: Evaluation, noun: str) -> str:
    names = [score.label for score in evaluation.per_class]
    pairs = confused_pairs(evaluation)
    rows = "".join(
        f"<tr><td>{escape(truth)} → {escape(called)}</td><td>{count}</td><td>{share:.1%}</td></tr>"
        for truth, called, count, share in pairs
    )
    table = f"<thead><tr><th>truth → answer</th><th>{noun}s</th><th>of the class</th></tr></thead>"
    listed = f"<div class=scroll><table>{table}<tbody>{rows}</tbody></table></div>" if rows else "<p>No mistakes.</p>"
    return section(
        "Confusion",
        f"A row is what {a(noun)} is, a column what it was called: blue on the diagonal is right, orange beside it is wrong.",
        charts.heat_map(evaluation.confusion, names, "Confusion matrix, a row a true class"),
        listed,
    )


def confused_pairs(evaluation: Evaluation, most: int = 12) -> list[tuple[str, str, int, float]]:
    """(truth, answer, examples, share of the class) of the most frequent confusions."""
    counts = evaluation.confusion.copy()
    np.fill_diagonal(counts, 0)
    order = np.argsort(-counts, axis=None, kind="stable")[:most]
    names = [score.label for score in evaluation.per_class]
    support = evaluation.confusion.sum(axis=1)
    places = [divmod(int(place), len(names)) for place in order]
    return [(names[r], names[c], int(counts[r, c]), float(counts[r, c] / support[r])) for r, c in places if counts[r, c]]


def calibration(evaluation: Evaluation, given: bool) -> str:
    metrics = evaluation.metrics
    source = "by the temperature that the configuration gives" if given else "fitted on validation data alone"
    return section(
        "Can its confidence be trusted?",
        "Of the answers given with 80 % confidence 80 % should be right: bars that end on the dashed line. Temperature scaling, "
        f"{source}, divides the logits by {metrics['temperature']:.3f}.",
        f"<p>before, error {metrics['ece_uncalibrated']:.4f}</p>"
        + charts.reliability_chart(evaluation.reliability_uncalibrated, "Accuracy over confidence before temperature scaling"),
        f"<p>after, error {metrics['ece']:.4f}</p>"
        + charts.reliability_chart(evaluation.reliability, "Accuracy over confidence after temperature scaling"),
    )


def mistakes(wrong: list[Mistake]) -> str:
    if not wrong:
        return ""
    figures = "".join(
        f"<figure>{one.exhibit}<b>{escape(one.prediction)}</b> "
        f"{one.confidence:.0%}<br>is {escape(one.truth)}<br><small>{escape(one.name)}</small></figure>"
        for one in wrong
    )
    return (
        f'<section><h2>Worst mistakes</h2><p class="say">The wrong answers that were given with the most confidence: a label may be '
        f'wrong, or the network.</p><div class="wall">{figures}</div></section>'
    )


def classes(evaluation: Evaluation, noun: str) -> str:
    rows = [
        (score.label, f"{score.precision:.4f}", f"{score.recall:.4f}", f"{score.f1:.4f}", str(score.support))
        for score in evaluation.per_class
    ]
    return section(
        "Every class",
        f"Precision: of the {noun}s called so, how many are. Recall: of those that are, how many were found. A click on a heading sorts.",
        table(("class", "precision", "recall", "F1", f"{noun}s"), rows),
    )


def data_summary(data: dict[str, Any], noun: str) -> str:
    splits: dict[str, dict[str, int]] = data["splits"]
    names = list(next(iter(splits.values())))
    head = "".join(f"<th>{escape(name)}</th>" for name in ("class", *splits))
    rows = "".join(
        f"<tr><td>{escape(name)}</td>{''.join(f'<td>{part[name]:,}</td>' for part in splits.values())}</tr>" for name in names
    )
    totals = "".join(f"<td><b>{sum(part.values()):,}</b></td>" for part in splits.values())
    notes = "".join(f'<p class="note">{escape(line)}</p>' for line in data["warnings"])
    choices = "".join(f'<p class="choice">{escape(line)}</p>' for line in data["decisions"])
    return section(
        "Data",
        f"{noun.capitalize()}s by class and part, what was noticed about them (orange), and what was chosen from them (blue).",
        f"<div class=scroll><table><thead><tr>{head}</tr></thead><tbody>{rows}</tbody><tfoot><tr><td><b>all</b></td>{totals}</tr></tfoot></table></div>",
        (notes + choices) or "<p>Nothing to note.</p>",
    )


def record(run: RunReport) -> str:
    config = escape(json.dumps(run.config, indent=1, ensure_ascii=False))
    training = escape(json.dumps(run.training, indent=1, ensure_ascii=False))
    return section(
        "Record",
        "Enough to do it again.",
        f"<details><summary>configuration</summary><pre>{config}</pre></details>",
        f"<details open><summary>training and machine</summary><pre>{training}</pre></details>",
    )
