"""Weights as text: written so that they read back to the last digit."""

from decimal import Decimal

__all__ = ["plain_decimal"]


def plain_decimal(weight: float) -> str:
    """The shortest decimal that reads back as `weight`, without an exponent: `1.2`, `2`, `0.000001`."""
    digits = format(Decimal(repr(float(weight))), "f")
    return digits.rstrip("0").rstrip(".") if "." in digits else digits
