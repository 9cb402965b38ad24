"""`promptattn sweep` on the model in the package."""

import json

from PIL import Image


def test_it_writes_a_grid_with_unicode_labels(command, tmp_path):
    done = command("sweep", "un {ratón,gato} (gris:{1,1.5})", "--steps", 2, "--seed", 7, "--out", tmp_path / "sweep")
    assert done.exit_code == 0, done.output
    assert "Wrote 4 images" in done.output
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text(encoding="utf-8"))
    assert found["axes"][0]["values"] == ["ratón", "gato"]
    assert found["settings"]["model"] == "shapes"
    assert set(found["maps"].values()) == {"maps_raton-gato.png", "maps_gris.png"}
    with Image.open(tmp_path / "sweep" / "grid.png") as grid:
        assert grid.width > 2 * 256
        assert grid.height > 2 * 256


def test_config_word_and_force(command, tmp_path):
    (tmp_path / "c.yaml").write_text("prompt: a (red:{1,2}) cat\nsteps: 2\nseed: [3, 5]\ncapture: {words: [cat]}\n")
    arguments = ["sweep", "--config", tmp_path / "c.yaml", "--word", "cat", "-o", tmp_path / "sweep"]
    assert command(*arguments).exit_code == 0
    found = json.loads((tmp_path / "sweep" / "sweep.json").read_text())
    assert [cell["seed"] for cell in found["cells"]] == [3, 3, 5, 5]
    assert found["maps"] == {"cat": "maps_cat.png"}
    refused = command(*arguments)
    assert refused.exit_code == 1
    assert "--force" in refused.output
    unmapped = command(*arguments, "--force", "--no-maps", "--model", "no-such-model")
    assert unmapped.exit_code == 2
    assert "leave out --no-maps, or --word" in " ".join(unmapped.output.split())
    assert command(*arguments[:3], "-o", tmp_path / "sweep", "--force", "--no-maps").exit_code == 0
    assert not (tmp_path / "sweep" / "maps_cat.png").exists()


def test_mistakes_cost_nothing_and_leave_nothing(command, tmp_path):
    for template, message in (
        ("a cat", "nothing is swept"),
        ("a {1..2", "never closed"),
        ("(x:{0..1:1e400})", "cannot hold 1e400"),
        ("{1..65}", "64 are the most"),
    ):
        done = command("sweep", template, "--model", "no-such-model", "--out", tmp_path / "o")
        assert done.exit_code == 2, done.output
        assert message in " ".join(done.output.split())
    assert list(tmp_path.iterdir()) == []
