"""Batches: every line of a file of prompts in a folder of its own, on one process or many, resumed after a kill."""

from promptattn.batch.items import Item
from promptattn.batch.lines import Line, read_lines
from promptattn.batch.running import BatchResult, Telling, run_batch

__all__ = ["BatchResult", "Item", "Line", "Telling", "read_lines", "run_batch"]
