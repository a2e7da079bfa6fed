"""The page of a run: whole, offline, safe from what users call their classes."""

import re
from html.parser import HTMLParser

import numpy as np
import pytest

from hemony import charts, metrics, report

VOID = {"meta", "img", "br", "line", "rect", "polyline"}


class Balance(HTMLParser):
    """Raises on a tag that is closed out of order; counts all."""

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.counts: dict[str, int] = {}

    def handle_starttag(self, tag: str, attributes: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1
        if tag not in VOID:
            self.open.append(tag)

    def handle_endtag(self, tag: str) -> None:
        if tag not in VOID:
            assert self.open.pop() == tag

    def handle_startendtag(self, tag: str, attributes: object) -> None:
        self.counts[tag] = self.counts.get(tag, 0) + 1


def page(classes: int = 10, mistakes: int = 6, epochs: int = 5, names: list[str] | None = None) -> str:
    draw = np.random.default_rng(0)
    names = names or [f"class {index}" for index in range(classes)]
    labels = draw.integers(0, classes, 500)
    logits = draw.normal(size=(500, classes)) * 2
    logits[np.arange(500), labels] += 4
    evaluation = metrics.evaluate_logits(logits, labels, names, 1.3)
    history = [
        {"epoch": epoch, "step": epoch * 10, "train_loss": 2 / epoch, "learning_rate": 0.1 / epoch, "elapsed_s": epoch * 1.5}
        | ({"val_loss": 2.2 / epoch, "val_accuracy": 1 - 0.5 / epoch} if epoch % 2 else {})
        for epoch in range(1, epochs + 1)
    ]
    pictures = [
        report.Mistake(
            charts.picture(draw.integers(0, 256, (size, size, channels), dtype=np.uint8), "a mistake"),
            names[0],
            names[-1],
            0.9,
            f"{names[0]}/{size}.png",
        )
        for size, channels in [(8, 1), (32, 3), (600, 3)] * 2
    ][:mistakes]
    data = {
        "splits": {part: dict.fromkeys(names, 5) for part in ("train", "validation", "test")},
        "warnings": ["<b>w</b>"],
        "decisions": ["d"],
    }
    run = report.RunReport(
        "a title", "image", evaluation, history, pictures, data, {"seed": 0}, {"parameters": 10, "train_time_s": 3.0, "seed": 0}
    )
    return report.render(run)


@pytest.mark.parametrize(("classes", "mistakes", "epochs"), [(10, 6, 5), (2, 0, 0), (100, 6, 1), (3, 1, 50)])
def test_the_page_is_whole_and_needs_no_network(classes: int, mistakes: int, epochs: int) -> None:
    text = page(classes, mistakes, epochs)
    parser = Balance()
    parser.feed(text)
    assert parser.open == []
    assert parser.counts.get("img", 0) == mistakes
    assert parser.counts["h1"] == 1
    assert not re.search(r"""(src|href)\s*=\s*["']?(https?:)?//""", text)
    assert "@import" not in text
    assert "url(" not in text
    assert len(text) < 2_000_000
    for heading in ("Confusion", "Can its confidence be trusted?", "Every class", "Data", "Record"):
        assert f"<h2>{heading}</h2>" in text
    assert ("<h2>Training</h2>" in text) == (epochs > 1)


def test_names_cannot_break_out_of_the_page() -> None:
    text = page(3, names=["<script>alert(1)</script>", '"quoted" & co', "日本"])
    assert text.count("<script>") == 1  # the page's own
    assert "&lt;script&gt;alert(1)" in text
    assert "日本" in text
    assert "<b>w</b>" not in text


def test_the_figures_are_those_of_the_evaluation() -> None:
    text = page(classes=3)
    draw = np.random.default_rng(0)  # as in `page`
    labels = draw.integers(0, 3, 500)
    logits = draw.normal(size=(500, 3)) * 2
    logits[np.arange(500), labels] += 4
    right = int((logits.argmax(axis=1) == labels).sum())
    assert 0 < right < 500
    assert f"{right} of 500 test images are right, {500 - right} wrong" in text
    for truth in range(3):
        recall = (logits[labels == truth].argmax(axis=1) == truth).mean()
        assert re.search(rf"<tr><td>class {truth}</td><td>[\d.]+</td><td>{recall:.4f}</td>", text)
