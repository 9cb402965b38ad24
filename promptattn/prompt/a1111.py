"""The prompt syntax of the Stable Diffusion web UI (A1111, and Forge after it).

    (word)      weight x 1.1               \\( \\) \\[ \\] \\\\   the character itself
    [word]      weight / 1.1               BREAK           the text after it starts a new chunk
    (word:1.2)  weight x 1.2               <lora:x:0.8>    taken out of the text and reported

    [a:b:10]    a for 10 steps, then b     [a:b:0.4]       a for 40 % of the steps, rounded down, then b
    [b:10]      nothing, then b            [a::10]         a, then nothing
    [a|b|c]     a, b, c, a, ... in turns   a AND b:0.5     two prompts, their predictions added

Nesting multiplies. Round and square brackets pair up among their own kind, so they may cross. A bracket that is never
closed holds to the end, one that was never opened is text. A number is decimal, with sign and surrounding spaces
allowed; what is no number stays text, and its bracket counts as a plain one. A lone backslash is dropped.

`AND` is read first, then what changes from step to step, then weights: at every step the prompt is the text that is
chosen, read as if it had been written so. Anything may stand in a schedule, a schedule may stand anywhere, and it may
be the number of a bracket: `(cat:[1.1:1.4:0.5])`.

Where this reader deliberately differs from A1111's:

* `(word:1.2.3)`, `(word:.)`: A1111 crashes; here the number is text, as in `(word:1,2)`.
* A number too large for a float is text, and a nested product too large for one gives weight 1; both are reported.
  A1111 goes on with infinity, or crashes where it is the number of a schedule.
* Weights multiply in decimal: `((word))` is 1.21, not 1.2100000000000002. Neighbours whose weights A1111 tells apart
  by such a last digit are one span here.
* `BREAK` is a node, not a text of weight -1, so text of weight -1 never fuses with it. Whitespace next to it is
  dropped across brackets too.
* Empty spans are left out; the empty prompt has none. Blanks at the ends of the parts of an `AND` are dropped.
* Only `<lora:...>`, `<lyco:...>` and `<hypernet:...>` are taken for tags; A1111 takes out every `<name:...>`.
* Half a surrogate pair becomes U+FFFD, since no tokenizer can encode it.
* A `|` outside of `[a|b]`, a backslash at the very end, or `(a:b:c)` inside a schedule make A1111 read every schedule
  of the prompt, or all round that place, as text. Here only what cannot be read is text, and the rest works.
* A word, tag or number never forms across the border of a schedule: `[B|x]REAK` is no break.
* Schedules are read 32 deep.
* Weights of a whole prompt: see `promptattn.prompt.combining`.

Everything runs in linear time and without deep recursion, whatever the nesting.
"""

from dataclasses import replace

from promptattn.prompt.assembly import assemble
from promptattn.prompt.combining import split_at_and
from promptattn.prompt.diagnostics import Diagnostic, in_order
from promptattn.prompt.limits import find_absurd
from promptattn.prompt.mistakes import find_mistakes
from promptattn.prompt.nodes import And, Part
from promptattn.prompt.scheduled_weights import spread_weights
from promptattn.prompt.source import CleanSource, clean_source
from promptattn.prompt.switches import find_switches
from promptattn.prompt.syntax import read_syntax
from promptattn.prompt.tree import Prompt

__all__ = ["parse_a1111"]


def parse_a1111(written: str) -> Prompt:
    """Read `written` in A1111 syntax (this module's docstring). Never fails; what looks wrong is in `.diagnostics`."""
    source = clean_source(written)
    pieces = split_at_and(source)
    parts = [_read(piece.source, written) for piece in pieces]
    of_pieces = (found for piece in pieces for found in piece.diagnostics)
    of_parts = (found for part in parts for found in (*part.diagnostics, *find_absurd(part)))
    found = in_order([*source.diagnostics, *of_pieces, *of_parts])
    if len(pieces) == 1:
        return replace(parts[0], diagnostics=found)
    told = set(found)
    kept = (replace(part, diagnostics=tuple(each for each in part.diagnostics if each in told)) for part in parts)
    weighed = tuple(Part(part, piece.weight) for part, piece in zip(kept, pieces, strict=True))
    return Prompt((And(weighed),), found, written)


def _read(source: CleanSource, written: str) -> Prompt:
    """One prompt without `AND`."""
    structure = find_switches(source.text)
    events = read_syntax(source.text, structure.switches)
    found = [*structure.diagnostics, *find_mistakes(source.text, events)]
    if structure.switches:
        events, more = spread_weights(source.text, events, structure.pairs)
        found += more
    nodes, about_weights = assemble(source, events, written)
    diagnostics: list[Diagnostic] = [*(source.placed(one) for one in found), *about_weights]
    return Prompt(tuple(nodes), tuple(diagnostics), written)
