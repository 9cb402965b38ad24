"""The one error tree of promptattn.

    PromptAttnError
    ├── PromptSyntaxError        the prompt text itself (strict parsing, a weight that is not a number)
    ├── UnsupportedModelError    a pipeline, denoiser, encoder or processor that promptattn cannot serve, or cannot find
    ├── CaptureError             maps that were asked for and do not exist, or would be wrong
    ├── WeightingError           a weight that cannot act where it was asked to act
    ├── ExportError              writing results: folders, files, disks
    └── ConfigError              options, presets and configuration files

Every message says what was wrong in terms of the user's input, where, and what to do about it.
"""

__all__ = [
    "CaptureError",
    "ConfigError",
    "ExportError",
    "PromptAttnError",
    "PromptAttnWarning",
    "PromptSyntaxError",
    "UnsupportedModelError",
    "WeightingError",
]


class PromptAttnError(Exception):
    """Root of every error that promptattn raises on purpose."""


class PromptSyntaxError(PromptAttnError):
    """A prompt that cannot be read as written; raised by strict parsing and by non-finite weights given from code."""


class UnsupportedModelError(PromptAttnError):
    """A model that promptattn cannot serve, or cannot find; the message names it and the reason."""


class CaptureError(PromptAttnError):
    """A map that was asked for and was not recorded, or could not be recorded rightly."""


class WeightingError(PromptAttnError):
    """A weight that cannot act where it was asked to act."""


class ExportError(PromptAttnError):
    """Results that could not be written; nothing half-written is left behind."""


class ConfigError(PromptAttnError):
    """An option, preset or configuration value that is out of range or unknown."""


class PromptAttnWarning(UserWarning):
    """Something the user should know and may have meant: an absurd weight, a cut word, a replaced processor."""
