"""All methods by name, and the choice of one."""

from difflib import get_close_matches

from promptattn.errors import ConfigError
from promptattn.weighting.embedding import EMBEDDING_METHODS, EmbeddingWeighting
from promptattn.weighting.odds import Rule, Strength, Weighting

__all__ = ["METHODS", "Method", "chosen"]

# The attention family: what its rule is called in `Weighting`, by the method's name.
_RULES: dict[str, Rule] = {"attention": "odds", "prompt-to-prompt": "prompt-to-prompt", "negpip": "negpip"}

METHODS: tuple[str, ...] = (*_RULES, *EMBEDDING_METHODS)
"""Every name that `weighting=` takes."""

Method = Weighting | EmbeddingWeighting


def chosen(weighting: str | Method, where: str = "auto", strength: Strength = None) -> Method:
    """The method of that name, or the one given.

    `where` and `strength` are those of :class:`Weighting`, for a method of the attention family chosen by name.

    Raises:
        ConfigError: for a name that does not exist, and for `where` or `strength` beside a method that does not have
            them, or that already says its own.
    """
    given = _given(where, strength)
    if isinstance(weighting, Method):
        if given:
            raise ConfigError(f"{given} beside {weighting!r}: put it into the {type(weighting).__name__} itself.")
        return weighting
    if not isinstance(weighting, str):
        raise ConfigError(f"weighting={weighting!r} is neither the name of a method nor one made with its options.")
    if weighting in _RULES:
        return Weighting(where, strength, _RULES[weighting])  # type: ignore[arg-type]
    if weighting not in EMBEDDING_METHODS:
        raise ConfigError(f"weighting={weighting!r} is not a method that exists{_hint(weighting)}")
    if given:
        raise ConfigError(
            f"{given}: {weighting!r} acts on the text embeddings, not in attention, and has no such option; leave it"
            " out, or choose weighting='attention'."
        )
    return EmbeddingWeighting(weighting)


def _given(where: str, strength: Strength) -> str:
    options = {"where": where if where != "auto" else None, "strength": strength}
    return ", ".join(f"{name}={value!r}" for name, value in options.items() if value is not None)


def _hint(name: object) -> str:
    near = get_close_matches(str(name).lower().replace(" ", "-"), METHODS, n=1)
    return (f"; did you mean {near[0]!r}? All" if near else "; the") + f" methods: {', '.join(METHODS)}."
