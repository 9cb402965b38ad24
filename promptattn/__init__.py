"""promptattn: weigh words in a text-to-image prompt inside the attention, and see where each word went.

Importing the package is cheap: torch, diffusers and transformers load when a name that needs them is first used.
"""

from importlib import import_module
from typing import Any

__version__ = "0.1.0"

# Public name -> module that defines it. Resolved on first use, so that `import promptattn` stays free of torch.
_HOMES = {
    "AttentionRun": "promptattn.run",
    "Capture": "promptattn.maps.capture",
    "CaptureError": "promptattn.errors",
    "Comparison": "promptattn.export",
    "ConfigError": "promptattn.errors",
    "ExportError": "promptattn.errors",
    "Explanation": "promptattn.explanation",
    "Generation": "promptattn.run",
    "HeatMap": "promptattn.maps",
    "HeatMaps": "promptattn.maps",
    "ImageMetadata": "promptattn.export.metadata",
    "Model": "promptattn.run",
    "Probe": "promptattn.run",
    "PromptAttnError": "promptattn.errors",
    "PromptAttnWarning": "promptattn.errors",
    "PromptSyntaxError": "promptattn.errors",
    "Records": "promptattn.records",
    "Stream": "promptattn.maps.stream",
    "Sweep": "promptattn.sweeps",
    "UnsupportedModelError": "promptattn.errors",
    "WeightingError": "promptattn.errors",
    "attend": "promptattn.run",
    "compare": "promptattn.export",
    "explain": "promptattn.explanation",
    "convert": "promptattn.prompt",
    "generate": "promptattn.run",
    "load": "promptattn.run",
    "models": "promptattn.run",
    "open_records": "promptattn.records",
    "parse": "promptattn.prompt",
    "plan": "promptattn.prompt",
    "probe": "promptattn.run",
    "sweep": "promptattn.sweeps",
    "read_image": "promptattn.export.metadata",
}

__all__ = sorted(_HOMES)


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module 'promptattn' has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted({*globals(), *__all__})
