"""Where the pipelines that ship with the package lie."""

from pathlib import Path

from promptattn.errors import UnsupportedModelError

__all__ = ["weights_folder"]

_ROOT = Path(__file__).parent / "weights"


def weights_folder(name: str = "unet") -> Path:
    """Folder of a shipped pipeline, in diffusers' format. Raises UnsupportedModelError where there is no such one."""
    folder = _ROOT / name
    if Path(name).name != name or not (folder / "model_index.json").is_file():
        there = sorted(path.parent.name for path in _ROOT.glob("*/model_index.json"))
        known = ", ".join(there) if there else "none is installed (train one: python scripts/train_shapes.py --help)"
        raise UnsupportedModelError(f"no shapes pipeline named {name!r} ships with promptattn; available: {known}")
    return folder
