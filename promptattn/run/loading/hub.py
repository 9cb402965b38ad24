"""Why a model did not come from the hub, as one sentence that says what to do."""

from collections.abc import Iterator

from promptattn.errors import UnsupportedModelError

__all__ = ["first_line", "hub_error"]

_OTHERWISE = "give a folder, or use the preset 'shapes', which needs no network"


def hub_error(model: str, revision: str | None, error: BaseException) -> UnsupportedModelError:
    """What to raise when loading `model` from the hub or its cache failed with `error`."""
    from huggingface_hub import constants
    from huggingface_hub.errors import (
        EntryNotFoundError,
        GatedRepoError,
        HfHubHTTPError,
        OfflineModeIsEnabled,
        RepositoryNotFoundError,
        RevisionNotFoundError,
    )

    chain = list(_chain(error))

    def caused_by(*kinds: type[BaseException]) -> bool:
        return any(isinstance(each, kinds) for each in chain)

    at = f" at revision {revision!r}" if revision else ""
    absent = f"the model {model}{at} is not in the local cache, and"
    if caused_by(GatedRepoError):
        return UnsupportedModelError(
            f"{absent} its owner asks for consent first: accept the terms at https://huggingface.co/{model} and log in"
            f" with `hf auth login`; or {_OTHERWISE}."
        )
    if caused_by(RevisionNotFoundError):
        return UnsupportedModelError(f"the hub's {model} has no revision {revision!r}; look up its branches and tags.")
    if caused_by(RepositoryNotFoundError):
        return UnsupportedModelError(
            f"{absent} the hub shows no such model: check the name, or log in with `hf auth login` if it is private;"
            f" or {_OTHERWISE}."
        )
    if caused_by(OfflineModeIsEnabled) or (constants.is_offline_mode() and caused_by(OSError, EntryNotFoundError)):
        return UnsupportedModelError(
            f"{absent} offline mode is on (HF_HUB_OFFLINE), so it cannot be fetched: fetch it once with the network, or"
            f" {_OTHERWISE}."
        )
    if any(map(_is_of_the_network, chain)):
        return UnsupportedModelError(
            f"{absent} the hub cannot be reached ({first_line(chain[-1])}): check the network, or {_OTHERWISE}."
        )
    if caused_by(HfHubHTTPError):
        return UnsupportedModelError(f"{absent} the hub answered: {first_line(chain[-1])}; or {_OTHERWISE}.")
    return UnsupportedModelError(f"the model {model}{at} cannot be loaded: {first_line(error)}.")


def first_line(error: BaseException) -> str:
    """The first line of an error's message, or its name where it has none."""
    return next((line.strip().rstrip(".") for line in str(error).splitlines() if line.strip()), type(error).__name__)


def _chain(error: BaseException) -> Iterator[BaseException]:
    """The error and what caused it, as far as it goes."""
    seen: set[int] = set()
    current: BaseException | None = error
    while current is not None and id(current) not in seen:
        seen.add(id(current))
        yield current
        current = current.__cause__ or (None if current.__suppress_context__ else current.__context__)


def _is_of_the_network(error: BaseException) -> bool:
    # By name: the hub's HTTP library changes from version to version, and its timeouts are no network errors.
    names = {kind.__name__ for kind in type(error).__mro__}
    return isinstance(error, ConnectionError) or not names.isdisjoint({"NetworkError", "TimeoutException"})
