"""All methods compared, on made-up results whose answers are known: fronts, questions, losses, advice, report."""

import numpy as np
import pytest

from promptattn.shapes.study.cases import Case, scene_cases
from promptattn.shapes.study.cells import UNTOUCHED, Cell
from promptattn.shapes.study.methods.cells import COMPANY, COMPANY_SCENES, LADDER, TARGETS, WEIGHTS, blocks
from promptattn.shapes.study.methods.contests import Contest, sampled
from promptattn.shapes.study.methods.fronts import LESS, MORE, first_reach, front
from promptattn.shapes.study.methods.questions import company, dilution, gone, removal, response, strongest, usable
from promptattn.shapes.study.methods.report import build
from promptattn.shapes.study.methods.tables import markdown
from promptattn.shapes.study.statistics import draws
from promptattn.shapes.study.store import Key, Store
from promptattn.shapes.study.table import Table
from promptattn.weighting import METHODS

CASES = [Case(index, index, ("en", "es")[index % 2], "", {}) for index in range(12)]
FEW = ("attention", "a1111", "comfy")


def result(method, weight, case):
    """`attention` gives more steadily; `a1111` turns back and breaks at 3; `comfy` costs half as much elsewhere."""
    own = {"a1111": 1 - 0.4 * (weight - 2) ** 2 + 0.4 if weight > 1 else weight}.get(method, 0.5 + 0.5 * weight)
    size = 0.05 + 0.01 * case.index
    return {
        "own": max(size * own, 0),
        "own_present": own > 0.3,
        "shape": own > 0.3,
        "likeness": 0.5 + 0.1 * own,
        "other": size * (1 if weight >= 1 else 1.2),
        "other_present": 1,
        "change": (1 if method == "comfy" else 2) * abs(weight - 1),
        "broken": method == "a1111" and weight > 2,
    }


def alone(method, target, case):
    """0.5 on other words: comfy loses the own object where all carry it, a1111 loses the weight's effect there."""
    found = result(method, 1.0, case)
    other = {"one": 0.5, "all": 0.9 if method == "a1111" else 0.5}[target]
    lost = method == "comfy" and target == "all"
    return {**found, "other": other * found["other"], "own_present": not lost, "own": 0 if lost else found["own"]}


def filled(folder, methods=FEW):
    store = Store(folder, {"model": "made up"})
    for case in CASES:
        for target in (*TARGETS, *COMPANY):
            store.append(Key(UNTOUCHED, target, case.index), result("", 1.0, case))
        for method in methods:
            for target in TARGETS:
                for weight in WEIGHTS:
                    effect = Cell(method, weight, target).effect
                    if effect != UNTOUCHED:
                        store.append(Key(effect, target, case.index), result(method, weight, case))
            for target in COMPANY:
                store.append(Key(Cell(method, 0.5, target).effect, target, case.index), alone(method, target, case))
    return store


@pytest.fixture(scope="module")
def table(tmp_path_factory):
    return Table(filled(tmp_path_factory.mktemp("made_up")), CASES, samples=200)


def test_what_the_defaults_paint():
    """The numbers that the script's docstring adds up."""
    cases = scene_cases(32)
    keys = {
        (cell.effect, cell.target, case.index)
        for part, cells in blocks(cases)
        for cell in cells
        for case in part
        if cell.effect != UNTOUCHED
    }
    assert len(keys) == 8 * 7 * 2 * 32 - 448 + 2 * 16 * 7 == 3360
    without = {key for key in keys if key[0].rule != "negpip"}
    assert len(keys) - len(without) == 480


def test_early_blocks_have_all_methods():
    cases = scene_cases(20)
    plan = list(blocks(cases))
    assert [len(part) for part, _ in plan] == [8, 8, 16, 16, 20, COMPANY_SCENES]
    for _, cells in plan[::2]:
        assert {cell.arm for cell in cells} == set(METHODS)
        assert {cell.weight for cell in cells} == set(WEIGHTS)
    assert [len(part) for part, _ in blocks(scene_cases(3))] == [3, 3]


def test_the_first_reach_by_hand():
    """1, 1.2, 0.8, 1.4 over weights 1 to 4: 1.1 lies half way to the second, 1.3 between the last two."""
    strength = np.array([[1.0, 1], [1.2, 1.0], [0.8, 0.9], [1.4, 0.9]])
    side = np.array([[0.0, 0], [4, 1], [8, 1], [2, 1]])
    weights, costs = first_reach((1, 2, 3, 4), strength, side, 1.1)
    assert weights[0] == pytest.approx(1.5)
    assert costs[0] == pytest.approx(2)
    assert np.isnan([weights[1], costs[1]]).all()
    weights, costs = first_reach((1, 2, 3, 4), strength, side, 1.3)
    assert (weights[0], costs[0]) == pytest.approx((3 + 5 / 6, 8 - 6 * 5 / 6))


def test_the_first_reach_downwards():
    weights, costs = first_reach(
        (1, 0.5, 0, -1), np.array([[1.0], [0.6], [0.2], [0]]), np.array([[0.0], [1], [2], [6]]), 0.5
    )
    assert (weights[0], costs[0]) == pytest.approx((0.375, 1.25))


def test_a_level_met_exactly_at_a_weight():
    weights, costs = first_reach((1, 2), np.array([[1.0], [1.2]]), np.array([[0.0], [3]]), 1.2)
    assert (weights[0], costs[0]) == (2, 3)


def test_contests_say_who_is_behind():
    drawn = draws(50)
    scenes = np.random.default_rng(0).normal(size=50)
    answers = {name: sampled(scenes + shift, drawn) for name, shift in (("a", 0.0), ("b", 0.0), ("c", 1.0))}
    answers["c"] = sampled(scenes + 1 + 0.1 * np.roll(scenes, 1), drawn)
    less = Contest("q", "change", {**answers, "none": np.full(2001, np.nan)}, more=False)
    assert less.leaders() == ("a", "b")
    assert list(less.behind("c")) == ["a", "b"]
    assert less.behind("c")["a"][0] == pytest.approx(1, abs=0.05)
    assert less.behind("a") == {}
    assert less.value("none") is None
    assert less.estimate("none") is None
    more = Contest("q", "change", answers, more=True)
    assert more.leaders() == ("c",)
    assert set(more.behind("a")) == {"c"}


def test_the_front(table):
    found = front(table, FEW, "colour", MORE, 1.1)
    assert found.weights["attention"] == pytest.approx(1.2)
    assert found.sides.value("attention") == pytest.approx(0.4)
    assert found.sides.value("comfy") == pytest.approx(0.2)
    assert set(found.sides.behind("attention")) == {"a1111", "comfy"}  # scaling is stronger, and so there earlier
    assert found.reached("attention") == 1
    assert front(table, FEW, "noun", LESS, 0.25).weights["attention"] == pytest.approx(-0.75)
    known = front(table, ("attention", "compel", "negpip"), "colour", MORE, 1.1)
    assert known.weights.keys() == {"attention", "compel"}  # above 1 compel is comfy; negpip was not painted


def test_a_strength_that_is_not_reached(table):
    found = front(table, FEW, "colour", MORE, 1.9)
    assert found.sides.value("a1111") is None
    assert np.isnan(found.weights["a1111"])
    assert found.reached("a1111") == 0
    assert found.sides.value("attention") == pytest.approx(2 * 1.8)


def test_questions(table):
    assert usable(table, "a1111", "colour") == (1.2, 1.5, 2.0)
    assert strongest(table, FEW, "colour").value("a1111") == pytest.approx(1.4)
    assert strongest(table, FEW, "colour").value("attention") == pytest.approx(2)
    assert removal(table, FEW, "colour", -1.0).value("attention") == 1
    assert removal(table, FEW, "colour", 0.0).value("attention") == 0
    assert removal(table, FEW, "colour", 0.0).leaders() == ("a1111",)
    assert response(table, FEW, "colour", "monotone").value("a1111") == 0
    assert response(table, FEW, "colour", "turns_back").value("attention") == 0
    assert response(table, FEW, "colour", "rises").value("comfy") == 1


def test_what_a_broken_image_lacks_was_not_removed(tmp_path):
    store = Store(tmp_path, {})
    cell = Cell("comfy", 0.0, "colour")
    for case, (before, after, broken) in zip(CASES, [(1, 0, 0), (1, 0, 1), (1, 1, 0), (0, 0, 0)], strict=False):
        store.append(Key(UNTOUCHED, "colour", case.index), {"own_present": before, "broken": 0})
        store.append(Key(cell.effect, "colour", case.index), {"own_present": after, "broken": broken})
    found = gone(Table(store, CASES[:5]), cell)
    assert found[:3].tolist() == [1, 0, 0]
    assert np.isnan(found[3:]).all()


def test_many_words_at_once(table):
    assert company(table, FEW, "all", "own").value("comfy") == 0
    assert company(table, FEW, "one", "own").value("comfy") == 1
    assert dilution(table, FEW).value("a1111") == pytest.approx(0.4)
    assert dilution(table, FEW).value("attention") == pytest.approx(0)


def test_the_report(table, tmp_path):
    found = build(table, ["attention", "negpip", "a1111", "comfy"], {"model": "made up"})
    assert found["methods"] == list(FEW)
    assert found["unpainted"] == ["negpip"]
    assert (found["settings"]["scenes"], found["settings"]["scenes_in_company"]) == (12, 12)
    lost = "colour, more: mean pixel change elsewhere at 1.1 times the own area: 0.40 against 0.20 of comfy"
    assert any(line.startswith(f"{lost}: worse than comfy by 0.20") for line in found["losses"])
    assert (
        "colour: gone at weight 0: 0 % against 100 % of a1111: worse than a1111 by 100 % (100 % to 100 %)"
        in found["losses"]
    )
    assert not any("broken" in line for line in found["losses"])
    assert "Most of a colour, images whole: attention 2.00, comfy 2.00 times its area at weight 1." in found["advice"]
    assert any(
        line.startswith("Prompts made for AUTOMATIC1111") and "from weight 3 on" in line for line in found["advice"]
    )
    assert "All other words at 0.5: own object is there: attention 100 %, a1111 100 %." in found["advice"]
    text = markdown(found)
    assert "nan" not in text
    assert "worse than comfy" in text
    assert "Without all their weights yet: negpip." in text
    row = next(line for line in text.splitlines() if line.startswith("| colour | attention |"))
    assert "0.40 *" in row  # off the front, and marked
    assert row.endswith("| none |")
    pytest.importorskip("matplotlib")
    from promptattn.shapes.study.methods.figure import draw

    draw(found, tmp_path / "deep" / "figure.png")
    assert (tmp_path / "deep" / "figure.png").stat().st_size > 5000


def test_all_methods_are_judged_by_the_same_scenes(tmp_path):
    store = filled(tmp_path)
    late = Case(99, 99, "en", "", {})
    for weight in WEIGHTS:
        store.append(Key(Cell("comfy", weight, "colour").effect, "colour", 99), result("comfy", 3.0, late))
    partly = build(Table(store, [*CASES, late], samples=50), FEW, {})
    assert partly["settings"]["scenes"] == 12
    assert partly["cells"] == build(Table(store, CASES, samples=50), FEW, {})["cells"]


def test_a_report_of_nothing_yet(tmp_path):
    found = build(Table(Store(tmp_path, {}), CASES), METHODS, {})
    assert found["methods"] == []
    assert "No method" in markdown(found)


def test_methods_that_do_not_move_the_image_are_said_to_be_inert(tmp_path):
    store = Store(tmp_path, {})
    for case in CASES:
        for target in (*TARGETS, *COMPANY):
            store.append(Key(UNTOUCHED, target, case.index), result("", 1.0, case))
        for target in TARGETS:
            for weight in WEIGHTS:
                store.append(Key(Cell("a1111", weight, target).effect, target, case.index), result("", 1.0, case))
    found = build(Table(store, CASES, samples=50), ("a1111",), {})
    assert any("it hardly acts" in line for line in found["advice"])
    assert set(LADDER) < set(WEIGHTS)
