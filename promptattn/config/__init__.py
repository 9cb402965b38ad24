"""Configs: a run written down in YAML, checked key by key, and the presets in `configs/`."""

from promptattn.config.presets import preset_names, presets_folder
from promptattn.config.problems import setting_paths
from promptattn.config.reading import load_config, preset, read_section, value_of, with_options
from promptattn.config.sections import (
    DEVICES,
    DTYPES,
    CaptureConfig,
    ExportConfig,
    ModelConfig,
    RunConfig,
    SchedulerConfig,
    SizeConfig,
    WeightingConfig,
)

__all__ = [
    "DEVICES",
    "DTYPES",
    "CaptureConfig",
    "ExportConfig",
    "ModelConfig",
    "RunConfig",
    "SchedulerConfig",
    "SizeConfig",
    "WeightingConfig",
    "load_config",
    "preset",
    "preset_names",
    "presets_folder",
    "read_section",
    "setting_paths",
    "value_of",
    "with_options",
]
