"""The study as one picture: measures across, targets down, one line for each arm. Needs matplotlib."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from promptattn.shapes.study.cells import WEIGHTS
from promptattn.shapes.study.table import MEASURES

__all__ = ["draw"]

_PANELS = ("own", "likeness", "mass", "other", "other_mass", "change", "broken")
_COLOURS = {
    "denoiser": "#d4572a",
    "text": "#3d7a9e",
    "both": "#6b4fa0",
    "power": "#c9a227",
    "auto": "#111111",
    "a1111": "#7f7f7f",
}
_NAMES = {"a1111": "A1111's embedding scaling", "auto": "auto (the default)", "power": "odds of w⁶, no ceiling"}
# Weights stand at equal distances: most lie between 0 and 2, and -1 is a place of its own.
_PLACES = {f"{weight:g}": place for place, weight in enumerate(WEIGHTS)}


def draw(report: Mapping[str, Any], path: Path) -> None:
    """Write the figure. Bands are 95 % bootstrap intervals over scenes. Raises ImportError without matplotlib."""
    import matplotlib

    matplotlib.use("Agg")
    import matplotlib.pyplot as plt

    cells = report["cells"]
    panels = [name for name in _PANELS if _has(cells, name)]
    figure, axes = plt.subplots(
        len(cells), len(panels), figsize=(4 * len(panels), 3.2 * len(cells)), squeeze=False, constrained_layout=True
    )
    for row, (target, arms) in zip(axes, cells.items(), strict=True):
        for axis, measure in zip(row, panels, strict=True):
            for arm in (arm for arm in _COLOURS if arm in arms):
                _line(axis, arm, arms[arm], measure)
            axis.set_xticks(list(_PLACES.values()), list(_PLACES), fontsize=8)
            axis.set_title(f"{target}: {MEASURES[measure]}", fontsize=9)
            axis.set_xlabel("weight", fontsize=8)
            axis.grid(alpha=0.25)
            if measure in ("own", "other", "mass", "other_mass"):
                axis.axhline(1, color="#999999", linewidth=0.8)
    handles, labels = axes[0][0].get_legend_handles_labels()
    figure.legend(handles, labels, loc="outside lower center", ncols=len(labels), fontsize=9)
    settings = report["settings"]
    figure.suptitle(f"{settings.get('model', '')}: {settings.get('scenes', '')} prompts, 95 % intervals", fontsize=10)
    path.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(path, dpi=80)
    plt.close(figure)


def _has(cells: Mapping[str, Any], measure: str) -> bool:
    return any(measure in values for arms in cells.values() for arm in arms.values() for values in arm.values())


def _line(axis: Any, arm: str, weights: Mapping[str, Any], measure: str) -> None:
    there = [weight for weight in _PLACES if measure in weights.get(weight, {})]
    if not there:
        return
    places = [_PLACES[weight] for weight in there]
    middle, low, high = zip(*(weights[weight][measure] for weight in there), strict=True)
    # The default goes along with "denoiser" almost everywhere: dashed on top, both are seen.
    style = dict(linestyle="--", linewidth=1.6, zorder=5) if arm == "auto" else dict(linewidth=1.4)
    axis.plot(places, middle, color=_COLOURS[arm], marker="o", markersize=2.5, label=_NAMES.get(arm, arm), **style)
    if arm != "auto":
        axis.fill_between(places, low, high, color=_COLOURS[arm], alpha=0.13, linewidth=0)
