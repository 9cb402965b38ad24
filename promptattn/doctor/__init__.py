"""What of promptattn works on this machine, and what to install: every check says what it found and what to do."""

from promptattn.doctor.checks import Check, State
from promptattn.doctor.examining import Report, examine

__all__ = ["Check", "Report", "State", "examine"]
