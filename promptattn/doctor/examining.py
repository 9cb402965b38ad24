"""`examine`: every check, one after the other."""

from collections.abc import Callable, Iterable
from dataclasses import asdict, dataclass
from typing import Any

from promptattn.doctor.checks import Check, guarded
from promptattn.doctor.devices import look_at_devices
from promptattn.doctor.kernels import look_at_kernels
from promptattn.doctor.models import look_at_models
from promptattn.doctor.packages import look_at_packages, look_at_python

__all__ = ["Report", "examine"]

_LOOKS: dict[str, Callable[[], Iterable[Check]]] = {
    "python": look_at_python,
    "packages": look_at_packages,
    "devices": look_at_devices,
    "attention": look_at_kernels,
    "models": look_at_models,
}


@dataclass(frozen=True)
class Report:
    """All that was looked at, group by group."""

    checks: tuple[Check, ...]

    @property
    def is_fine(self) -> bool:
        """Whether nothing is broken."""
        return not any(check.state == "broken" for check in self.checks)

    def as_dict(self) -> dict[str, Any]:
        """As plain values."""
        return {"fine": self.is_fine, "checks": [asdict(check) for check in self.checks]}


def examine() -> Report:
    """Look at Python, packages, devices, attention kernels and models; never raises, and takes seconds.

    Packages that are missing or broken are told of; what needs them cannot be looked at then, and that is told too.
    Nothing is fetched, and no model is loaded.
    """
    return Report(tuple(check for group, look in _LOOKS.items() for check in guarded(group, look)))
