"""The container and compose files start what there is: commands, options, variables, paths."""

import re
from pathlib import Path
from typing import Any

import pytest
import yaml
from conftest import ROOT
from test_classify import run
from web_fixtures import API, opened, settings_of, stranger

from marrowscope.model.bundle import Bundle

DEPLOY = ROOT / "deploy"
CONTAINER = (DEPLOY / "Containerfile").read_text()


@pytest.fixture(scope="module")
def services() -> dict[str, Any]:
    found: dict[str, Any] = yaml.safe_load((DEPLOY / "compose.yaml").read_text())["services"]
    return found


def test_the_servers_start_with_options_that_there_are(services: dict[str, Any]) -> None:
    command, *options = services["room"]["command"]
    shown = run(command, "--help").stdout
    for word in (word for word in options if word.startswith("--")):
        assert word in shown
    variables = [name for name in services["room"]["environment"] if "MARROWSCOPE" in name]
    assert len(variables) == 3
    for name in variables:
        assert name in shown


def test_every_variable_of_the_compose_file_is_in_the_example() -> None:
    wanted = set(re.findall(r"\$\{(\w+)", (DEPLOY / "compose.yaml").read_text()))
    example = set(re.findall(r"^(\w+)=", (DEPLOY / "example.env").read_text(), re.MULTILINE))
    assert wanted == example
    assert set(re.findall(r"\{\$(\w+)\}", (DEPLOY / "Caddyfile").read_text())) <= wanted


def test_services_wait_for_services_that_there_are(services: dict[str, Any]) -> None:
    waited_for = {name for service in services.values() for name in service.get("depends_on", ())}
    assert waited_for <= set(services)
    assert services["room"]["build"]["dockerfile"] == "deploy/Containerfile"


def test_the_container_installs_extras_that_there_are() -> None:
    (extras,) = re.findall(r"\[([\w,]+)\]\"", CONTAINER)
    declared = (ROOT / "pyproject.toml").read_text().partition("[project.optional-dependencies]")[2]
    for extra in extras.split(","):
        assert f"\n{extra} = [" in declared


def test_its_health_check_asks_a_path_that_answers(toy_bundle: Bundle, tmp_path: Path) -> None:
    (path,) = re.findall(r"http://127\.0\.0\.1:8017(/\S+?)'", CONTAINER)
    assert path == f"{API}/health/ready"
    with opened(settings_of(tmp_path, toy_bundle)) as app:
        while (answer := stranger(app).get(path)).status_code == 503:
            assert answer.headers["content-type"] == "application/problem+json"
    assert answer.status_code == 200
