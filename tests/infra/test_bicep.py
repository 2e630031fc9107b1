"""infra/ is Bicep that Azure would take, as far as its type data can tell; and the check finds what is wrong."""

import shutil
from pathlib import Path
from typing import NamedTuple

import pytest

from dev.bicep_check import check

ROOT = Path(__file__).parents[2]
INFRA = ROOT / "infra"
DATA = ROOT.parent / "shared" / "azure"

needs_data = pytest.mark.skipif(
    not list(DATA.glob("azure-types*.json")), reason="Azure's type data are not beside the project, in shared/azure"
)


class Seeded(NamedTuple):
    """A mistake: in which file, what is changed into what, and what the check must say of it."""

    file: str
    old: str
    new: str
    says: str


# Mistakes that the files alone show.
PLAIN = {
    "a brace is missing": Seeded("storage.bicep", "  sku: { name: 'Standard_LRS' }", "  sku: { name: 'x'", "syntax"),
    "a name is misspelt": Seeded("vault.bicep", "scope: vault", "scope: vaul", "'vaul' is not declared"),
    "a function is misspelt": Seeded("redis-new.bicep", "replace(guid(", "replace(gui(", "gui() is not a function"),
    "a parameter is not used": Seeded(
        "identity.bicep", "param tags object", "param tags object\nparam more string", "parameter 'more' is not used"
    ),
    "a variable is not used": Seeded(
        "identity.bicep", "param tags object", "param tags object\nvar more = 1", "variable 'more' is not used"
    ),
    "a module is not there": Seeded("main.bicep", "'vault.bicep'", "'vaults.bicep'", "no module 'vaults.bicep'"),
    "a module has no such parameter": Seeded(
        "main.bicep", "allowKeys: plan", "allowKey: plan", "has no parameter 'allowKey'"
    ),
    "a parameter of a module is missing": Seeded(
        "main.bicep", "    search: redisSearch\n", "", "the parameter 'search' is missing"
    ),
    "a parameter of a module has another type": Seeded(
        "main.bicep", "search: redisSearch", "search: redisSku", "'search' is a bool, not a string"
    ),
    "a module has no such output": Seeded(
        "main.bicep", "storage.outputs.container", "storage.outputs.package", "has no output 'package'"
    ),
    "a module of another scope gets none": Seeded(
        "main.bicep", "  name: 'identity'\n  scope: group\n", "  name: 'identity'\n", "needs a scope"
    ),
    "a default is not allowed": Seeded("main.bicep", "string = 'flex'", "string = 'flexible'", "is not allowed"),
    "a default has another type": Seeded("main.bicep", "int = 10\n", "int = '10'\n", "its default a string"),
    "a secret is a plain parameter": Seeded(
        "main.bicep", "@secure()\nparam redisPassword", "param redisPassword", "looks like a secret"
    ),
    "a secret is an output": Seeded(
        "event-grid.bicep",
        "resource vault ",
        "output topicSecret string = topic.id\nresource vault ",
        "outputs are kept in the clear",
    ),
    "a query is not there": Seeded("alerts.bicep", "alert-backlog.kql", "backlog.kql", "there is no file"),
    "a property stands twice": Seeded(
        "alerts.bicep", "      enabled: true\n", "      enabled: true\n      enabled: false\n", "stands twice"
    ),
    "a member of an object is misspelt": Seeded("alerts.bicep", "rule.window", "rule.windows", "there is no 'windows'"),
}  # fmt: skip

# Mistakes that only Azure's type data show.
TYPED = {
    "a resource type is misspelt": Seeded(
        "storage.bicep", "Storage/storageAccounts@", "Storage/storageAccount@", "no resource type"
    ),
    "an API version does not exist": Seeded(
        "vault.bicep", "vaults@2025-05-01", "vaults@2025-05-11", "there is no such API version"
    ),
    "a property is misspelt": Seeded(
        "storage.bicep", "minimumTlsVersion", "minimumTLSVersion", "no property 'minimumTLSVersion'"
    ),
    "a property deep inside is misspelt": Seeded(
        "app-flex.bicep", "maximumInstanceCount:", "maxInstanceCount:", "no property 'maxInstanceCount'"
    ),
    "a required property is missing": Seeded(
        "redis-new.bicep",
        "    publicNetworkAccess: isPrivate ? 'Disabled' : 'Enabled'\n",
        "    // isPrivate\n",
        "'publicNetworkAccess' is missing",
    ),
    "a value is none of the enum": Seeded("redis-new.bicep", "'NoEviction'", "'noeviction'", "is none of"),
    "one branch is none of the enum": Seeded("redis-new.bicep", "'NoCluster'", "'NonClustered'", "is none of"),
    "a number is a text": Seeded("redis-new.bicep", "port: 10000", "port: '10000'", "'10000' is not integer"),
    "a boolean is a text": Seeded("app-flex.bicep", "httpsOnly: true", "httpsOnly: 'true'", "is not boolean"),
    "a list is a text": Seeded("alerts.bicep", "values: ['*']", "values: '*'", "is not array"),
    "a property is read-only": Seeded(
        "storage.bicep", "allowBlobPublicAccess: false", "provisioningState: 'Succeeded'", "read-only"
    ),
    "a name does not match its pattern": Seeded(
        "redis-existing-classic.bicep", "  name: 'reclaim'\n", "  name: 're claim!'\n", "does not match"
    ),
    "a text is too long": Seeded(
        "alerts.bicep", "groupShortName: 'reclaim'", "groupShortName: 'reclaim-people'", "characters"
    ),
    "a discriminator has no such value": Seeded(
        "app-flex.bicep", "name: 'appsettings'", "name: 'appsetting'", "is none of"
    ),
    "a parent is of another type": Seeded(
        "storage.bicep", "  parent: blobs", "  parent: account", "must be a Microsoft.Storage/storageAccounts/blob"
    ),
    "a property that is read does not exist": Seeded(
        "redis-new.bicep", "cache.properties.hostName", "cache.properties.hostname", "there is no 'hostname'"
    ),
    "a value in a loop has another type": Seeded("alerts.bicep", "severity: 3", "severity: '3'", "is not integer"),
    "an existing resource is changed": Seeded(
        "event-grid.bicep", "  name: vaultName\n", "  name: vaultName\n  location: location\n", "cannot be set"
    ),
}  # fmt: skip


def test_nothing_is_wrong_with_names_modules_and_secrets() -> None:
    assert check(INFRA / "main.bicep", None) == ([], set())


@needs_data
def test_nothing_is_wrong_by_azures_type_data() -> None:
    mistakes, _ = check(INFRA / "main.bicep", DATA)

    assert [str(one) for one in mistakes] == []


def test_every_file_is_a_part_of_the_deployment() -> None:
    """A file that main.bicep does not reach would not be checked."""
    reached = (INFRA / "main.bicep").read_text(encoding="utf-8")

    assert [
        path.name for path in INFRA.glob("*.bicep") if path.name != "main.bicep" and f"'{path.name}'" not in reached
    ] == []


@pytest.mark.parametrize("mistake", PLAIN)
def test_a_mistake_is_found(mistake: str, tmp_path: Path) -> None:
    assert found(PLAIN[mistake], tmp_path, None)


@needs_data
@pytest.mark.parametrize("mistake", TYPED)
def test_a_mistake_is_found_by_the_type_data(mistake: str, tmp_path: Path) -> None:
    assert found(TYPED[mistake], tmp_path, DATA)


def test_the_page_says_how_many_mistakes_are_seeded() -> None:
    page = (INFRA.parent / "docs" / "deploy.md").read_text(encoding="utf-8")

    assert f"each of {len(PLAIN) + len(TYPED)} seeded mistakes" in page


def found(seeded: Seeded, folder: Path, data: Path | None) -> list[str]:
    """What the check says of a mistake in a copy of infra/, in the file where it was made or where it is used."""
    shutil.copytree(INFRA, folder / "infra")
    path = folder / "infra" / seeded.file
    text = path.read_text(encoding="utf-8")
    assert seeded.old in text
    path.write_text(text.replace(seeded.old, seeded.new, 1), encoding="utf-8")
    mistakes, _ = check(folder / "infra" / "main.bicep", data)
    return [one.text for one in mistakes if seeded.says in one.text]
