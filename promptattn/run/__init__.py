"""One run from prompt to maps: `attend` a pipeline, or `generate` in a single call."""

from promptattn.run.attend import AttentionRun, attend
from promptattn.run.generate import Generation, generate
from promptattn.run.loading.load import load
from promptattn.run.loading.models import Model, models
from promptattn.run.probe import Probe, probe

__all__ = ["AttentionRun", "Generation", "Model", "Probe", "attend", "generate", "load", "models", "probe"]
