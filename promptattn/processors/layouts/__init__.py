"""Layouts: where each denoiser has its text and its image."""

from promptattn.processors.layouts.layout import READING, DenoiserCall, LayerKind, Layout, Seats
from promptattn.processors.layouts.table import LAYOUTS, layout_of

__all__ = ["LAYOUTS", "READING", "DenoiserCall", "LayerKind", "Layout", "Seats", "layout_of"]
