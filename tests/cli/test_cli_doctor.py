"""`promptattn doctor`, where all is well and where it is not."""

import json
import subprocess
import sys
import time

import pytest
import torch

from promptattn.core import kernels
from promptattn.doctor import examine
from promptattn.doctor import models as doctor_models
from promptattn.doctor import packages as doctor_packages


@pytest.fixture(scope="module")
def report():
    return examine()


def found(report, group, name):
    return next(check for check in report.checks if (check.group, check.name) == (group, name))


def test_a_whole_installation_is_fine(command):
    done = command("doctor")
    assert done.exit_code == 0, done.output
    for expected in (f"torch: {torch.__version__}", "cpu-flash: gives back its log-sum-exp", "shapes: in the package"):
        assert expected in done.output
    assert "Everything that is needed works" in done.output


def test_json_says_the_same(command, report):
    done = command("doctor", "--json")
    assert done.exit_code == 0
    said = json.loads(done.stdout)
    assert said["fine"] is True
    assert {each["group"] for each in said["checks"]} >= {"python", "packages", "devices", "attention", "models"}
    assert {each["state"] for each in said["checks"]} <= {"fine", "absent"}
    assert [each["name"] for each in said["checks"]] == [check.name for check in report.checks]


def test_it_is_quick_once_torch_is_loaded():
    began = time.monotonic()
    examine()
    assert time.monotonic() - began < 5


@pytest.mark.parametrize(("missing", "package"), [("torch", "torch"), ("yaml", "PyYAML")])
def test_it_goes_on_without_a_package_and_says_which(missing, package):
    code = (
        "import sys, runpy\n"
        "class Gone:\n"
        "    def find_spec(self, name, path=None, target=None):\n"
        f"        if name.partition('.')[0] == {missing!r}:\n"
        "            raise ModuleNotFoundError(f'No module named {name!r}', name=name)\n"
        "sys.meta_path.insert(0, Gone())\n"
        "sys.argv = ['promptattn', 'doctor', '--json']\n"
        "runpy.run_module('promptattn.cli', run_name='__main__')\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True)
    assert done.returncode == 1, done.stderr
    said = json.loads(done.stdout)
    assert said["fine"] is False
    broken = [each for each in said["checks"] if each["state"] == "broken"]
    assert any(missing in each["found"] for each in broken)
    assert any(each["advice"] == f"pip install {package}" for each in broken)
    # What does not need it is still told.
    assert any(each["name"] == "python" and each["state"] == "fine" for each in said["checks"])


def test_a_version_that_does_not_fit_is_broken(monkeypatch):
    real = doctor_packages.version
    monkeypatch.setattr(doctor_packages, "version", lambda name: "0.1" if name == "diffusers" else real(name))
    check = next(each for each in doctor_packages.look_at_packages() if each.name == "diffusers")
    assert check.state == "broken"
    assert check.found.startswith("0.1, and diffusers")
    assert check.advice.startswith("pip install 'diffusers")


def test_an_extra_that_is_not_there_is_absent_and_says_what_it_gives(monkeypatch):
    real = doctor_packages.version

    def version(name):
        if name == "matplotlib":
            raise doctor_packages.PackageNotFoundError(name)
        return real(name)

    monkeypatch.setattr(doctor_packages, "version", version)
    check = next(each for each in doctor_packages.look_at_packages() if each.group == "extras" and each.name == "plot")
    assert check.state == "absent"
    assert "plot()" in check.found
    assert "matplotlib" in check.found
    assert check.advice == "pip install 'promptattn[plot]'"


def test_a_kernel_that_is_off_is_found(monkeypatch, command):
    real = kernels.run_with_lse

    def off(*arguments):
        output, lse = real(*arguments)
        return output, lse + 0.01

    monkeypatch.setattr(kernels, "run_with_lse", off)
    done = command("doctor")
    assert done.exit_code == 1
    assert "cpu-flash: is off by 0.01 from plain softmax" in done.output
    assert "1 broken" in done.output


def test_weights_that_are_cut_short_or_only_pointers_are_found(tmp_path, monkeypatch):
    from promptattn.shapes import weights_folder

    whole = weights_folder("unet") / "vae" / "diffusion_pytorch_model.safetensors"
    assert doctor_models._is_whole(whole)
    for name, data in {"cut": whole.read_bytes()[:-1], "pointer": b"version https://git-lfs", "empty": b""}.items():
        (tmp_path / "vae").mkdir(exist_ok=True)
        (tmp_path / "vae" / "model.safetensors").write_bytes(data)
        check = doctor_models._shipped("shapes", tmp_path)
        assert check.state == "broken", name
        assert "vae" in check.found
    (tmp_path / "vae" / "model.safetensors").unlink()
    assert doctor_models._shipped("shapes", tmp_path).state == "broken"
