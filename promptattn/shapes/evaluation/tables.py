"""From recordings to the figures of a report: every selection, the controls, the search, the peers."""

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from numpy.typing import NDArray

from promptattn.maps.combination import RULES, Rule
from promptattn.shapes.evaluation.grounding import Heats, choose_thresholds, difference, samples, summary
from promptattn.shapes.evaluation.recording import Recording, Word
from promptattn.shapes.evaluation.search import Choice, all_units, best_single, crossed, greedy
from promptattn.shapes.evaluation.selections import Selection, catalogue, heat

__all__ = ["ROLES", "Row", "absent_table", "grounding_table", "peer_table"]

ROLES = {"shape": "noun", "colour": "colour"}

Row = dict[str, Any]
"""`kind` and `name` of what is scored, and under "noun" and "colour" the scores of `grounding.summary`."""

CONTROLLED = ("rule", "group", "layer")


def grounding_table(recordings: Sequence[Recording]) -> list[Row]:
    """One row per selection; controls for those of the kinds in `CONTROLLED`, and for what the search finds.

    Controls are the same maps against another picture's masks ("shuffled") and against the other object's ("other"),
    at the thresholds that are best for the maps' own masks.
    """
    recordings = [recording for recording in recordings if recording.words]
    if not recordings:
        return []
    rows = []
    for selection in catalogue(recordings[0]):
        scores = _scores(recordings, _heats(selection), controls=selection.kind in CONTROLLED)
        rows.append({"kind": selection.kind, "name": selection.name} | scores)
    return [*rows, *_differences(recordings), *_searched(recordings), _parts(recordings)]


def absent_table(recordings: Sequence[Recording]) -> list[Row]:
    """Words that are not in the scene beside those that are, in the same pictures, both by the default rule.

    A word that is not there has no object, so its map is held against every object in turn: what it scores is what a
    map scores that is drawn to objects as such, or to a place by chance.
    """
    heats = _heats(_by("coherence"))
    names = {True: "in the scene", False: "not in the scene"}
    return [
        {"kind": "absent", "name": name}
        | {label: summary(samples(recordings, heats, _words(role, present))) for role, label in ROLES.items()}
        for present, name in names.items()
    ]


def peer_table(recordings: Sequence[Recording], names: Sequence[str]) -> list[Row]:
    """This project's rules and the peers `names` on the same pictures, which are those with maps of every peer.

    `different` is the largest difference, of 255, between a picture as the peer painted it and as it was judged.
    """
    recordings = [each for each in recordings if each.words and set(names) <= set(each.peer)]
    if not recordings or not names:
        return []
    rows: list[Row] = [
        {"kind": "peer", "name": f"promptattn, {rule}"} | _scores(recordings, _heats(_by(rule)), controls=True)
        for rule in RULES
    ]
    for name in names:
        apart = max(each.different[name] for each in recordings)
        scores = _scores(recordings, _of_peer(name), controls=True)
        rows.append({"kind": "peer", "name": name, "different": apart} | scores)
    return rows


def _scores(recordings: Sequence[Recording], heats: Heats, *, controls: bool) -> Row:
    heats = _remembered(heats)
    row: Row = {}
    for role, label in ROLES.items():
        found = samples(recordings, heats, _words(role))
        row[label] = summary(found)
        for control in ("shuffled", "other") if controls and found else ():
            scored = samples(recordings, heats, _words(role), against=control)
            row[label][control] = summary(scored, choose_thresholds(found))
    return row


def _differences(recordings: Sequence[Recording]) -> list[Row]:
    """What the default rule gains over the other rules, word by word."""
    rows: list[Row] = [{"kind": "gain", "name": f"coherence over {rule}"} for rule in RULES if rule != "coherence"]
    for role, label in ROLES.items():
        found = {rule: samples(recordings, _heats(_by(rule)), _words(role)) for rule in RULES}
        for row in rows:
            row[label] = difference(found["coherence"], found[row["name"].split()[-1]])
    return rows


def _searched(recordings: Sequence[Recording]) -> list[Row]:
    if {recording.half for recording in recordings} != {0, 1}:
        return []  # too few cases to choose on one half and test on the other
    layers, heads = all_units(recordings[0], heads=False), all_units(recordings[0], heads=True)
    searches: dict[str, Callable[[int], Choice]] = {
        "best layer": lambda half: best_single(recordings, layers, half),
        "best layers together": lambda half: greedy(recordings, layers, half),
        "best head": lambda half: best_single(recordings, heads, half),
        "best heads together": lambda half: greedy(recordings, heads, half),
    }
    rows = []
    for name, search in searches.items():
        choices, heats = crossed(search)
        made = [choice.selection.name for choice in choices]
        rows.append({"kind": "chosen", "name": name, "choices": made} | _scores(recordings, heats, controls=True))
    return rows


def _parts(recordings: Sequence[Recording]) -> Row:
    """The default rule by language, for phrases, and by whether the judge sees the shape that a noun says.

    A phrase is an object's noun and colour together, their maps summed as `maps["red cat"]` does.
    """
    row: Row = {"kind": "parts", "name": "coherence"}
    heats = _remembered(_heats(_by("coherence")))
    for language in ("en", "es"):
        part = [recording for recording in recordings if recording.language == language]
        for role, label in ROLES.items():
            row[f"{label}, {language}"] = summary(samples(part, heats, _words(role)))
        row[f"phrase, {language}"] = summary(samples(part, _phrases(heats), _words("shape")))
        # A colour that is not seen has no object at all.
        for seen, said in ((True, "seen"), (False, "not seen")):
            row[f"noun, {language}, {said}"] = summary(samples(part, heats, _words("shape", seen=seen)))
    return row


def _by(rule: Rule) -> Selection:
    return Selection("rule", rule, rule)


def _heats(selection: Selection) -> Heats:
    return lambda recording: heat(selection, recording)


def _of_peer(name: str) -> Heats:
    return lambda recording: recording.peer[name].astype(np.float64)


def _phrases(heats: Heats) -> Heats:
    """For each word the sum over all words that are said of the same object."""

    def summed(recording: Recording) -> NDArray[np.float64]:
        things = np.array([word.thing for word in recording.words])
        member = (things[:, None] == things[None, :]).astype(np.float64)
        return np.tensordot(member, heats(recording), axes=1)

    return summed


def _words(role: str, present: bool = True, seen: bool | None = None) -> Callable[[Word], bool]:
    return lambda word: word.role == role and word.present == present and seen in (None, word.seen)


def _remembered(heats: Heats) -> Heats:
    """Each recording's maps are made once, though nouns, colours and controls all ask for them."""
    made: dict[int, NDArray[np.float64]] = {}

    def remembered(recording: Recording) -> NDArray[np.float64]:
        if id(recording) not in made:
            made[id(recording)] = heats(recording)
        return made[id(recording)]

    return remembered
