"""Maps: what a run recorded, and the questions one can ask of it. Plain numpy; no model is needed to read them."""

from promptattn.maps.capture import Capture
from promptattn.maps.colormap import COLORMAPS, colorize, colormap
from promptattn.maps.combination import RULES, Rule, layer_shares
from promptattn.maps.heatmap import HeatMap
from promptattn.maps.heatmaps import HeatMaps
from promptattn.maps.paint import own_scale
from promptattn.maps.records import ColumnInfo, LayerMaps, PatchMaps, PromptInfo, Reading, TextAttention
from promptattn.maps.resize import combine, resize
from promptattn.maps.stream import Stream

__all__ = [
    "COLORMAPS",
    "RULES",
    "Capture",
    "ColumnInfo",
    "HeatMap",
    "HeatMaps",
    "LayerMaps",
    "PatchMaps",
    "PromptInfo",
    "Reading",
    "Rule",
    "Stream",
    "TextAttention",
    "colorize",
    "colormap",
    "combine",
    "layer_shares",
    "own_scale",
    "resize",
]
