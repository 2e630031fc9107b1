"""azure.yaml is what azd reads: by its own schema, and by the names that infra/ uses."""

import json
from pathlib import Path

import jsonschema
import pytest
import referencing.jsonschema
import yaml

ROOT = Path(__file__).parents[2]
SCHEMA = ROOT.parent / "shared" / "azure" / "azure.yaml.schema.json"
FILE = yaml.safe_load((ROOT / "azure.yaml").read_text(encoding="utf-8"))

# The schema lets any host, language and provider pass, and any property of a service. So the file is compared whole.
OURS = {
    "name": "reclaim",
    "metadata": {"template": "reclaim"},
    "requiredVersions": {"azd": ">= 1.23.4"},
    "infra": {"provider": "bicep", "path": "infra", "module": "main"},
    "services": {"reclaim": {"project": ".", "language": "python", "host": "function"}},
}

MISTAKES = {
    "no name": {"name": None},
    "a name in capitals": {"name": "Reclaim!"},
    "a provider in capitals": {"infra": {"provider": "Bicep"}},
    "a service without a host": {"services": {"reclaim": {"project": "."}}},
    "no service at all": {"services": {}},
    "a version of something else": {"requiredVersions": {"az": ">= 1"}},
}


def errors(file: object) -> list[str]:
    """What the schema says of a file. Schemas of azd's extensions, which it names, say nothing here."""
    schema = json.loads(SCHEMA.read_text(encoding="utf-8"))
    nothing = referencing.jsonschema.DRAFT201909.create_resource({})
    registry = referencing.Registry(retrieve=lambda _: nothing)
    return [one.message for one in jsonschema.Draft201909Validator(schema, registry=registry).iter_errors(file)]


needs_schema = pytest.mark.skipif(
    not SCHEMA.is_file(), reason="azd's schema is not beside the project, in shared/azure"
)


@needs_schema
def test_azd_can_read_it() -> None:
    assert errors(FILE) == []


@needs_schema
@pytest.mark.parametrize("mistake", MISTAKES)
def test_the_schema_finds_a_mistake(mistake: str) -> None:
    changed = {name: value for name, value in (FILE | MISTAKES[mistake]).items() if value is not None}

    assert errors(changed) != []


def test_its_paths_and_names_are_those_of_the_project() -> None:
    """By a tag with the service's name azd finds the app."""
    (service,) = FILE["services"]

    assert FILE == OURS
    assert (ROOT / FILE["services"][service]["project"] / "host.json").is_file()
    assert (ROOT / FILE["infra"]["path"] / f"{FILE['infra']['module']}.bicep").is_file()
    for app in ("app-flex.bicep", "app-classic.bicep"):
        assert f"{{ 'azd-service-name': '{service}' }}" in (ROOT / "infra" / app).read_text(encoding="utf-8")


def test_the_page_names_the_azd_that_is_needed() -> None:
    page = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")

    assert f"(`azd`), {FILE['requiredVersions']['azd'].removeprefix('>= ')} or newer" in page
