"""The figure of docs/concepts.md: what a weight does to one softmax, and what becomes of the number in the prompt.

python scripts/concepts_figure.py --out docs/figures/concepts.png      (needs the extra [plot])
"""

import argparse
from pathlib import Path

import matplotlib

matplotlib.use("Agg")
import matplotlib.pyplot as plt
import torch

from promptattn.core import Columns, KeyWeights, attention
from promptattn.weighting import Weighting

WORDS = ["a", "red", "cat", "and", "a", "star"]
SCORES = [0.2, 1.1, 1.6, -0.3, 0.1, 0.4]
WEIGHTS = {"weight 1": 1.0, "(red:1.2)": 1.2, "(red:0)": 0.0}
INK, SHADES = "#1d1d24", ["#b8b4aa", "#d8552b", "#3a5f8a"]


def probabilities(odds: float) -> list[float]:
    """What one image place gives to each word, with these odds on "red", by the attention core itself."""
    # Keys along the axes and a query of the scores: the products are the scores.
    query = torch.tensor(SCORES).view(1, 1, 1, -1)
    key = value = torch.eye(len(WORDS)).view(1, 1, len(WORDS), -1)
    every = torch.arange(len(WORDS))
    weights = KeyWeights.of([WORDS.index("red")], [odds])
    result = attention(query, key, value, scale=1.0, key_weights=weights, capture=Columns(every))
    assert result.columns is not None
    return result.columns.flatten().tolist()


def draw_softmax(axes: plt.Axes) -> None:
    for at, (label, weight) in enumerate(WEIGHTS.items()):
        odds = Weighting().in_denoiser(weight)
        places = [place + (at - 1) * 0.27 for place in range(len(WORDS))]
        axes.bar(places, probabilities(odds), width=0.25, color=SHADES[at], label=f"{label}: odds {odds:.2g}")
    axes.set_xticks(range(len(WORDS)), WORDS)
    axes.set_ylabel("probability")
    axes.set_title("What one place in the image gives to the words", loc="left", color=INK)
    axes.legend(frameon=False)


def draw_odds(axes: plt.Axes) -> None:
    weights = torch.linspace(0, 2, 401).tolist()
    usual, exact = Weighting(), Weighting(strength="exact")
    axes.plot(weights, [usual.in_denoiser(w) for w in weights], color=SHADES[1], label="the default, strength 6")
    axes.plot(weights, [exact.in_denoiser(w) for w in weights], color=SHADES[2], label='strength="exact"')
    axes.plot([1], [1], "o", color=INK, markersize=4)
    axes.set_xlabel("weight in the prompt")
    axes.set_ylabel("odds in the denoiser")
    axes.set_title("From the number to the odds", loc="left", color=INK)
    axes.legend(frameon=False)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--out", type=Path, default=Path("docs/figures/concepts.png"))
    options = parser.parse_args()
    figure, (left, right) = plt.subplots(1, 2, figsize=(11, 3.8), layout="constrained")
    draw_softmax(left)
    draw_odds(right)
    for axes in (left, right):
        axes.spines[["top", "right"]].set_visible(False)
    options.out.parent.mkdir(parents=True, exist_ok=True)
    figure.savefig(options.out, dpi=110)


if __name__ == "__main__":
    main()
