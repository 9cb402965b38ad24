"""Numbers as text: written so that they read back to the last digit, or shown in a message."""

from decimal import Decimal

__all__ = ["plain_decimal", "short_number"]


def plain_decimal(weight: float) -> str:
    """The shortest decimal that reads back as `weight`, without an exponent: `1.2`, `2`, `0.000001`."""
    digits = format(Decimal(repr(float(weight))), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits


def short_number(written: str) -> str:
    """What a user wrote for a number, as a message shows it: whole up to 24 characters."""
    return written if len(written) <= 24 else f"{written[:20]}..."
