"""Sweeps: one prompt with many values, `(red:{0.5..2.0:0.25})`, and every image of it in one labelled grid."""

from promptattn.sweeps.cells import Cell
from promptattn.sweeps.points import Design, Point
from promptattn.sweeps.result import Sweep
from promptattn.sweeps.running import sweep
from promptattn.sweeps.swept import Subject
from promptattn.sweeps.template import Axis

__all__ = ["Axis", "Cell", "Design", "Point", "Subject", "Sweep", "sweep"]
