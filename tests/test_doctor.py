"""The doctor names what is there, measures it, and says how to get what is not."""

import json
import os
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest
from conftest import ROOT
from test_classify import run

from marrowscope.inference.backends import best_of, installed
from marrowscope.inference.doctor import EXTRAS, cells_per_second, examine, machine, missing
from marrowscope.model.bundle import Bundle


def test_the_machine_is_this_one() -> None:
    found = machine()
    assert found.cores == len(os.sched_getaffinity(0))
    assert found.memory_gb > found.memory_free_gb > 0
    flags = Path("/proc/cpuinfo").read_text()
    assert all(name in flags for name in found.instructions)


def test_it_measures_every_engine_and_names_the_fastest(toy_bundle: Bundle) -> None:
    found = examine(toy_bundle)
    assert set(found.engine_rates) == set(installed())
    assert found.engine == best_of(found.engine_rates).name
    assert found.cells_per_second > 0
    assert (found.bundle, found.precision) == ("toy", "fp32")


def test_a_bundle_with_a_scale_can_be_measured(toy_bundle: Bundle) -> None:
    from dataclasses import replace

    scaled = replace(toy_bundle.preprocessing, field_um=25.0)
    assert cells_per_second(replace(toy_bundle, preprocessing=scaled), "onnxruntime") > 0


def test_what_is_missing_comes_with_its_install_line(monkeypatch: pytest.MonkeyPatch) -> None:
    optional = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    ours = optional["optional-dependencies"].keys() - {"dev", "docs", "fuzz"}
    assert set(EXTRAS) == ours
    assert not [what for what, _ in missing(()) if not what.startswith(("GPU", "train"))]
    monkeypatch.setitem(EXTRAS, "fast", ("openvino", "no_such_module"))
    assert ("fast (no_such_module)", "pip install 'marrowscope[fast]'") in list(missing(()))


def test_the_command_speaks_to_people_and_to_machines(toy_bundle: Bundle) -> None:
    people = run("doctor", "--bundle", toy_bundle.folder)
    assert people.returncode == 0, people.stderr
    for words in ("processor", "instructions", "memory", "engine onnxruntime", "from JPEG files"):
        assert words in people.stdout
    machines = run("doctor", "--bundle", toy_bundle.folder, "--json")
    values = json.loads(machines.stdout)
    assert set(values["engine_rates"]) == set(installed())


def test_help_needs_neither_psutil_nor_onnxruntime() -> None:
    code = (
        "import sys; from marrowscope.cli import app; "
        "print({'psutil', 'cpuinfo', 'onnxruntime', 'openvino'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", code], check=True, capture_output=True, text=True)
    assert done.stdout.strip() == "set()"
