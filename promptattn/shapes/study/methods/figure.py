"""All methods as one picture: strength, side effect and failures over the weight, and the front. Needs matplotlib."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptattn.shapes.study.methods.fronts import DIRECTIONS
from promptattn.shapes.study.methods.losses import OURS
from promptattn.shapes.study.table import MEASURES

__all__ = ["COLOURS", "draw"]

COLOURS = {
    "attention": "#111111",
    "prompt-to-prompt": "#d4572a",
    "negpip": "#c9a227",
    "a1111": "#7f7f7f",
    "comfy": "#3d7a9e",
    "compel": "#6b4fa0",
    "comfy++": "#2e8b57",
    "down_weight": "#b5547c",
}
_PANELS = ("own", "other", "broken")


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the figure. Bands and bars are 95 % bootstrap intervals. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    targets = report["cells"]
    figure, axes = plt.subplots(
        len(targets), 1 + len(_PANELS), figsize=(17, 4 * len(targets)), squeeze=False, constrained_layout=True
    )
    for row, (target, methods) in zip(axes, targets.items(), strict=True):
        for axis, measure in zip(row, _PANELS, strict=False):
            for method, weights in methods.items():
                _over_weights(axis, method, weights, measure)
            axis.set_title(f"{target}: {MEASURES[measure]}", fontsize=9)
            axis.set_xlabel("weight", fontsize=8)
            axis.grid(alpha=0.25)
        for method, weights in methods.items():
            _front(row[-1], method, weights)
        row[-1].set_title(f"{target}: what it costs", fontsize=9)
        row[-1].set_yscale("symlog", linthresh=10)  # a broken image changes ten times as much as a whole one
        row[-1].set_xlabel(MEASURES["own"], fontsize=8)
        row[-1].set_ylabel(MEASURES["change"], fontsize=8)
        row[-1].grid(alpha=0.25)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=max(len(labels), 1), fontsize=9)
    settings = report["settings"]
    figure.suptitle(f"{settings.get('model', '')}: {settings.get('scenes', '')} scenes, 95 % intervals", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _style(method: str) -> dict[str, Any]:
    return {"color": COLOURS.get(method, "#444444"), "linewidth": 2.2 if method == OURS else 1.3}


def _known(values: Mapping[str, Any], measure: str) -> bool:
    """Whether it was measured: where nothing was there at weight 1, a ratio to it is None."""
    return measure in values and all(isinstance(each, int | float) for each in values[measure])


def _over_weights(axis: Any, method: str, weights: Mapping[str, Any], measure: str) -> None:
    """Weights stand at equal distances."""
    there = [weight for weight in weights if _known(weights[weight], measure)]
    places = [list(weights).index(weight) for weight in there]
    if not there:
        return
    middle, low, high = zip(*(weights[weight][measure] for weight in there), strict=True)
    axis.plot(places, middle, marker="o", markersize=2.5, label=method, **_style(method))
    axis.fill_between(places, low, high, color=_style(method)["color"], alpha=0.08, linewidth=0)
    axis.set_xticks(range(len(weights)), list(weights), fontsize=8)


def _front(axis: Any, method: str, weights: Mapping[str, Any]) -> None:
    """The paths away from weight 1, with the side effect's interval at each weight."""
    for direction in DIRECTIONS:
        path = [weights[key] for key in (f"{weight:g}" for weight in direction.weights) if key in weights]
        path = [each for each in path if _known(each, "own") and _known(each, "change")]
        if not path:
            continue
        strength = [each["own"][0] for each in path]
        side, low, high = zip(*(each["change"] for each in path), strict=True)
        error = [
            [max(m - a, 0) for m, a in zip(side, low, strict=True)],
            [max(b - m, 0) for m, b in zip(side, high, strict=True)],
        ]
        axis.errorbar(strength, side, yerr=error, marker="o", markersize=2.5, elinewidth=0.5, **_style(method))
