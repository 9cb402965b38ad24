"""`promptattn tokens`: how a prompt is cut into tokens."""

from rich.text import Text

from promptattn.cli.options import Model, Negative, Prompt, Verbose
from promptattn.cli.tables import token_table
from promptattn.console import note, out, told

__all__ = ["tokens"]


def tokens(
    prompt: Prompt,
    negative: Negative = None,
    model: Model = "shapes",
    verbose: Verbose = False,
) -> None:
    """Show how a prompt is cut into tokens: word, weight, chunk, and what is cut off, for every text encoder.

    **Example:** `promptattn tokens "un gato (rojo:1.4) persigue a un ratón gris"`
    """
    with told(verbose):
        from promptattn.prompt import plan
        from promptattn.run.load import load_tokenizers

        planned = plan(load_tokenizers(model), prompt, negative)
        sides = [("prompt", planned.encoders)] + ([("negative prompt", planned.negative)] if negative else [])
        for side, encoders in sides:
            for encoder in encoders:
                out.print(token_table(f"{side}, {encoder.name}", encoder))
                if encoder.cut:
                    out.print(Text("cut off: " + " ".join(word.text for word in encoder.cut), style="bold red"))
        for diagnostic in planned.diagnostics:
            note(diagnostic.severity, str(diagnostic))
