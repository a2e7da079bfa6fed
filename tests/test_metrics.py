"""The figures against independent references, by hand and from the literature."""

import json
import math

import numpy as np
import pytest
from sklearn.metrics import (
    accuracy_score,
    balanced_accuracy_score,
    log_loss,
    precision_recall_fscore_support,
    roc_auc_score,
    top_k_accuracy_score,
)

from hemony import metrics


def sample(count: int = 400, classes: int = 7, sharpness: float = 3.0) -> tuple[np.ndarray, np.ndarray]:
    draw = np.random.default_rng(0)
    labels = draw.integers(0, classes, count)
    logits = draw.normal(size=(count, classes))
    logits[np.arange(count), labels] += 1.5
    return logits * sharpness, labels


def test_wilson_against_the_closed_form_and_a_textbook_value() -> None:
    z = 1.959963984540054
    for correct, total in ((0, 10), (300, 300), (261, 269), (1, 2)):
        share = correct / total
        centre = (share + z * z / (2 * total)) / (1 + z * z / total)
        half = z * math.sqrt(share * (1 - share) / total + z * z / (4 * total**2)) / (1 + z * z / total)
        low, high = metrics.wilson_interval(correct, total)
        assert low == pytest.approx(max(centre - half, 0), abs=1e-12)
        assert high == pytest.approx(min(centre + half, 1), abs=1e-12)
    assert metrics.wilson_interval(300, 300)[0] == pytest.approx(0.987, abs=5e-4)


def test_figures_agree_with_scikit_learn() -> None:
    logits, labels = sample()
    names = [f"class {index}" for index in range(7)]
    evaluation = metrics.evaluate_logits(logits, labels, names, temperature=2.0)
    predicted, found = logits.argmax(axis=1), evaluation.metrics
    precision, recall, f1, support = precision_recall_fscore_support(labels, predicted, zero_division=0)
    assert found["accuracy"] == accuracy_score(labels, predicted)
    assert found["balanced_accuracy"] == pytest.approx(balanced_accuracy_score(labels, predicted))
    assert found["macro_precision"] == pytest.approx(precision.mean())
    assert found["macro_f1"] == pytest.approx(f1.mean())
    assert found["top5_accuracy"] == pytest.approx(top_k_accuracy_score(labels, logits, k=5))
    assert found["nll"] == pytest.approx(log_loss(labels, metrics.softmax(logits, 2.0)))
    assert [score.recall for score in evaluation.per_class] == pytest.approx(recall.tolist())
    assert [score.support for score in evaluation.per_class] == support.tolist()
    assert evaluation.confusion.sum() == len(labels)
    json.dumps(found, allow_nan=False)


def test_temperature_undoes_a_known_sharpening() -> None:
    draw = np.random.default_rng(1)
    logits = draw.normal(size=(20_000, 5)) * 2
    labels = np.array([draw.choice(5, p=row) for row in metrics.softmax(logits)])
    assert metrics.fit_temperature(logits * 3, labels) == pytest.approx(3.0, rel=0.03)
    assert metrics.fit_temperature(logits / 3, labels) == pytest.approx(1 / 3, rel=0.03)


@pytest.mark.parametrize("count", [1, 2, 30])
def test_temperature_stays_sane_without_mistakes(count: int) -> None:
    logits = np.tile([[5.0, 0.0, 0.0]], (count, 1))
    temperature = metrics.fit_temperature(logits, np.zeros(count, dtype=int))
    assert 0.05 < temperature < 20
    assert metrics.softmax(logits, temperature).max() < 1.0
    assert metrics.softmax(logits, temperature)[0, 0] > 0.5


def test_calibration_error_by_hand() -> None:
    probabilities = np.array([[0.95, 0.05], [0.9, 0.1], [0.62, 0.38], [0.35, 0.65]])
    labels = np.array([0, 1, 0, 1])
    # bins of width 1/15: 0.95 alone, 0.9 alone, 0.62 and 0.65 together
    expected = (abs(1 - 0.95) + abs(0 - 0.9) + 2 * abs(1 - 0.635)) / 4
    assert metrics.calibration_error(probabilities, labels) == pytest.approx(expected)
    assert [bin.count for bin in metrics.reliability(probabilities, labels)] == [2, 1, 1]


def test_calibrated_predictions_have_next_to_no_calibration_error() -> None:
    draw = np.random.default_rng(2)
    confident = draw.uniform(0.5, 1, 50_000)
    probabilities = np.stack((confident, 1 - confident), axis=1)
    labels = (draw.uniform(size=50_000) > confident).astype(int)
    assert metrics.calibration_error(probabilities, labels) < 0.01


def test_mcnemar_exactly() -> None:
    a = np.array([True] * 12 + [False] * 3 + [True] * 80)
    b = np.array([False] * 12 + [True] * 3 + [True] * 80)
    test = metrics.mcnemar_exact(a, b)
    assert (test.only_a_right, test.only_b_right) == (12, 3)
    assert test.p_value == pytest.approx(2 * sum(math.comb(15, k) for k in range(4)) / 2**15)
    assert metrics.mcnemar_exact(a, a).p_value == 1.0


@pytest.mark.parametrize("labels", [[0, 0, 0], [0, 1, 2], [2]])
def test_small_and_one_sided_sets_give_numbers(labels: list[int]) -> None:
    logits = np.eye(3)[[0, 1, 1][: len(labels)]] * 4
    evaluation = metrics.evaluate_logits(logits, np.array(labels), ["a", "b", "c"], 1.0)
    json.dumps(evaluation.metrics, allow_nan=False)
    assert evaluation.metrics["top5_accuracy"] == 1.0


def test_the_area_under_the_curve_is_that_of_scikit_learn() -> None:
    draw = np.random.default_rng(0)
    positives, negatives = draw.normal(1, 1, 300).round(1), draw.normal(0, 1, 200).round(1)
    truth = np.r_[np.ones(300), np.zeros(200)]
    assert metrics.roc_area(positives, negatives) == pytest.approx(roc_auc_score(truth, np.r_[positives, negatives]))
