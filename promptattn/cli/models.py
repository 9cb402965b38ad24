"""`promptattn models`: what is served, what is refused, and why."""

from rich.table import Column, Table
from rich.text import Text

from promptattn.cli.options import Json, Verbose
from promptattn.console import emit, out, told, waiting

__all__ = ["models"]


def models(as_json: Json = False, verbose: Verbose = False) -> None:
    """List the families of models that prompts can be weighed and watched in, and those that are refused, and why.

    **Example:** `promptattn models --json`
    """
    with told(verbose, as_json=as_json):
        from dataclasses import asdict

        with waiting("Looking"):
            from promptattn.run import models as known

            rows = known()
        if as_json:
            emit([asdict(row) for row in rows])
            return
        # Words go on the next line where a terminal is narrow, and are never cut.
        served = Table(
            *(Column(name, overflow="fold") for name in ("family", "weights act on", "maps of", "text encoder"))
        )
        reasons: dict[str, list[str]] = {}
        for row in rows:
            if row.refused is None:
                served.add_row(*map(Text, (row.family, row.weighting, ", ".join(row.capture), row.text_encoder)))
            else:
                reasons.setdefault(row.refused, []).append(row.family)
        tested = {row.tested.partition(";")[0] for row in rows if row.refused is None}
        refused = Table(Column("not served", overflow="fold"), "why", show_lines=True)
        for reason, families in reasons.items():
            refused.add_row(Text(", ".join(dict.fromkeys(families))), Text(reason))
        out.print(served)
        out.print(Text(f"How each is tested: {', '.join(sorted(tested))}."))
        out.print(refused)
        out.print("Other denoisers are tried: where they have text and image is found out, told, and gone by.")
