"""`promptattn models`: what is served, what is refused, and why."""

from rich.table import Table
from rich.text import Text

from promptattn.cli.options import Json, Verbose
from promptattn.console import emit, out, told

__all__ = ["models"]


def models(as_json: Json = False, verbose: Verbose = False) -> None:
    """List the families of models that prompts can be weighed and watched in, and those that are refused, and why.

    **Example:** `promptattn models --json`
    """
    with told(verbose):
        from dataclasses import asdict

        from promptattn.run import models as known

        rows = known()
        if as_json:
            emit([asdict(row) for row in rows])
            return
        served = Table("family", "weights act on", "maps of", "text encoder", "tested how")
        reasons: dict[str, list[str]] = {}
        for row in rows:
            if row.refused is None:
                cells = (row.family, row.weighting, "\n".join(row.capture), row.text_encoder, row.tested)
                served.add_row(*map(Text, cells))
            else:
                reasons.setdefault(row.refused, []).append(row.family)
        refused = Table("not served", "why", show_lines=True)
        for reason, families in reasons.items():
            refused.add_row(Text(", ".join(families)), Text(reason))
        out.print(served)
        out.print(refused)
        out.print("Other denoisers are tried: where they have text and image is found out, told, and gone by.")
