"""Where the presets lie. They are the one place where a model's settings are written down."""

from functools import cache
from pathlib import Path

__all__ = ["preset_names", "presets_folder"]


def presets_folder() -> Path:
    """The folder `configs`: inside the package once it is installed, beside it in a checkout."""
    package = Path(__file__).parents[1]
    inside = package / "configs"
    return inside if inside.is_dir() else package.parent / "configs"


@cache
def preset_names() -> tuple[str, ...]:
    """Names of the presets, sorted; each is a model name for `load` and a file of :func:`presets_folder`."""
    return tuple(sorted(file.stem for file in presets_folder().glob("*.yaml")))
