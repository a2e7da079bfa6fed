"""What was found, as tables for a terminal: a line a layer, a direction, or a clip."""

from typing import Any


def widest(rows: list[dict[str, Any]], key: str) -> int:
    """Letters of the column in which the layers are named."""
    return max([len("layer"), *(len(row[key]) for row in rows)])


def gradients_table(rows: list[dict[str, Any]]) -> str:
    """A line a layer, for people."""
    width = widest(rows, "name")
    lines = [f"{'layer':<{width}}  {'gradient':<13}  {'order':>6}  {'control':>7}  relative error"]
    for row in rows:
        orders = ["" if row[key] is None else f"{row[key]:.2f}" for key in ("order", "control_order")]
        error = f"{row['relative_error']:.0e}" if row["verdict"] != "zero gradient" else ""
        lines.append(f"{row['name']:<{width}}  {row['verdict']:<13}  {orders[0]:>6}  {orders[1]:>7}  {error}".rstrip())
    return "\n".join(lines)


def cost_table(rows: list[dict[str, Any]]) -> str:
    """A line a layer, for people."""
    width = widest(rows, "name")
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
    width = widest(rows, "layer")
    lines = [f"{'layer':<{width}}  linear probe  95 %"]
    lines += [
        f"{row['layer']:<{width}}  {row['accuracy']:>12.3f}  {row['accuracy_low']:.3f} to {row['accuracy_high']:.3f}"
        for row in rows
    ]
    return "\n".join(lines)


def connections_table(facts: dict[str, Any]) -> str:
    """A line a layer, and one for each number of bands."""
    width = widest(facts["layers"], "name")
    lines = [f"{'layer':<{width}}  {'links':>9}  {'possible':>9}  {'parameters saved':>16}  multiplications saved"]
    for row in facts["layers"]:
        lines.append(
            f"{row['name']:<{width}}  {row['links']:>9,}  {row['possible_links']:>9,}  {row['parameters_saved']:>16,}  "
            f"{row['multiplications_saved_share']:>21.1%}"
        )
    if facts["bands"]:
        lines.append("\nbands heard  mean of combinations   best")
        lines += [f"{row['k']:>11}  {row['mean_accuracy']:>20.3f}  {row['best_accuracy']:>5.3f}" for row in facts["bands"]]
    if facts["retrained"]:
        lines.append("\ntrained anew  parameters  in training       in the test")
        lines += [
            f"{row['k']:>7} of {row['n']}  {row['parameters']:>10,}  {row['train_mean']:.3f} +- {row['train_std']:.3f}  "
            f"{row['test_mean']:.3f} +- {row['test_std']:.3f}"
            for row in facts["retrained"]
        ]
    return "\n".join(lines)


def harmonic_table(facts: dict[str, Any]) -> str:
    """A line a version of a clip."""
    lines = [f"{'clip':<16}  {facts['term'] + 's':>8}  {'energy':>6}  probability  called"]
    for clip in facts["clips"]:
        for step in clip["steps"]:
            terms = "all" if step["terms"] > len(clip["terms_hz"]) else step["terms"]
            lines.append(
                f"{clip['label']:<16}  {terms:>8}  {step['energy_share']:>6.0%}  {step['probability']:>11.3f}  {step['predicted']}"
            )
    return "\n".join(lines)


def flow_table(facts: dict[str, Any]) -> str:
    """A line a layer, and what is out of order in words."""
    width = widest(facts["layers"], "name")
    lines = [f"{'layer':<{width}}  {'gradient':>9}  dead units"]
    for row in facts["layers"]:
        dead = "" if row["dead_share"] is None else f"{row['dead_share']:>10.0%}"
        lines.append(f"{row['name']:<{width}}  {row['gradient_rms']:>9.1e}  {dead}".rstrip())
    return "\n".join([*lines, *facts["words"]])
