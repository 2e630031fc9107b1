"""The files of docs/deploy.md for other places than Azure are what those places read."""

import re
import shlex
import shutil
import subprocess
from pathlib import Path
from typing import Any

import kubernetes_validate
import pytest
import yaml

from bench.billing import lines, months

ROOT = Path(__file__).parents[2]
FILES = ROOT / "docs" / "deploy"
PAGE = (ROOT / "docs" / "deploy.md").read_text(encoding="utf-8")
CONTAINERFILE = (ROOT / "Containerfile").read_text(encoding="utf-8")
MANIFESTS = list(yaml.safe_load_all((FILES / "kubernetes.yaml").read_text(encoding="utf-8")))
UNIT = (FILES / "reclaim.service").read_text(encoding="utf-8")


def pods() -> dict[str, Any]:
    """The pods that the manifests make, by the kind of what makes them."""
    by_kind = {one["kind"]: one["spec"] for one in MANIFESTS if "spec" in one}
    return {
        "CronJob": by_kind["CronJob"]["jobTemplate"]["spec"]["template"]["spec"],
        "Deployment": by_kind["Deployment"]["template"]["spec"],
    }


def stages() -> list[list[str]]:
    """The Containerfile's instructions, by stage."""
    lines = [line for line in CONTAINERFILE.replace("\\\n", " ").splitlines() if line and not line.startswith("#")]
    starts = [at for at, line in enumerate(lines) if line.startswith("FROM")]
    return [lines[start:end] for start, end in zip(starts, [*starts[1:], len(lines)], strict=True)]


def test_probes_and_prometheus_ask_what_the_program_serves() -> None:
    """At the port that it is told to serve, and on an address that others reach."""
    (deployment,) = [one for one in MANIFESTS if one["kind"] == "Deployment"]
    template = deployment["spec"]["template"]
    (container,) = template["spec"]["containers"]
    (port,) = container["ports"]
    probes = [container[name]["httpGet"] for name in ("readinessProbe", "livenessProbe")]
    served = set(re.findall(r'web\.get\("(/\w+)"', (ROOT / "reclaim/cli/probes.py").read_text(encoding="utf-8")))

    assert container["args"] == ["run", "--watch", "--port", str(port["containerPort"]), "--listen", "0.0.0.0"]
    assert {probe["port"] for probe in probes} == {port["name"]}
    annotations = {name.partition("/")[2]: value for name, value in template["metadata"]["annotations"].items()}
    assert annotations["port"] == str(port["containerPort"])
    assert {probe["path"] for probe in probes} | {annotations["path"]} == served


def test_kubernetes_knows_every_field() -> None:
    version = kubernetes_validate.latest_version()

    for manifest in MANIFESTS:
        kubernetes_validate.validate(manifest, version, strict=True)


def test_a_misspelt_field_is_found() -> None:
    """So the test above can fail."""
    manifest = next(one for one in MANIFESTS if one["kind"] == "Deployment")
    misspelt = yaml.safe_load(yaml.safe_dump(manifest).replace("readinessProbe", "readinesProbe"))

    with pytest.raises(kubernetes_validate.ValidationError):
        kubernetes_validate.validate(misspelt, kubernetes_validate.latest_version(), strict=True)


@pytest.mark.parametrize("kind", ["CronJob", "Deployment"])
def test_a_pod_may_do_no_more_than_it_needs(kind: str) -> None:
    """It is not root, writes nothing, and has no token of the cluster."""
    pod = pods()[kind]
    (container,) = pod["containers"]

    assert pod["automountServiceAccountToken"] is False
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert f"USER {pod['securityContext']['runAsUser']}:{pod['securityContext']['runAsGroup']}" in CONTAINERFILE
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }


def test_the_image_has_the_program_and_nothing_that_builds_it() -> None:
    """Two stages; the second one copies what the first one has made, and is not root."""
    build, image = stages()

    assert [line.split()[0] for line in image] == ["FROM", "COPY", "WORKDIR", "ENV", "USER", "ENTRYPOINT", "CMD"]
    assert "--invalidation-mode unchecked-hash" in build[-1]
    for line in build:
        if line.startswith("COPY"):
            *sources, _ = shlex.split(line)[1:]
            assert [source for source in sources if not (ROOT / source).exists()] == []


def test_the_build_is_given_only_what_it_copies() -> None:
    """.dockerignore leaves out everything else, so no .env can get into a layer."""
    lines = (ROOT / ".dockerignore").read_text(encoding="utf-8").split()
    copied = {source for line in stages()[0] if line.startswith("COPY") for source in shlex.split(line)[1:-1]}

    assert lines[0] == "*"
    assert {line[1:] for line in lines if line.startswith("!")} == copied


@pytest.mark.skipif(shutil.which("systemd-analyze") is None, reason="systemd-analyze is not installed here")
def test_systemd_knows_every_line_of_the_unit(tmp_path: Path) -> None:
    """With a program that is there in place of ours; an unknown line is a warning, and that is said here too."""
    path = tmp_path / "reclaim.service"
    path.write_text(UNIT.replace("/opt/reclaim/.venv/bin/python", "/bin/true"), encoding="utf-8")

    said = subprocess.run(["systemd-analyze", "verify", str(path)], capture_output=True, text=True, check=False)

    assert [line for line in said.stderr.splitlines() if "reclaim.service" in line] == []


def test_a_run_has_the_time_that_it_needs_to_stop() -> None:
    """Half of RUN_BUDGET_SEC for what is in work, and 12 s for alerts and telemetry."""
    least = 240 / 2 + 12

    assert pods()["Deployment"]["terminationGracePeriodSeconds"] >= least
    assert int(re.findall(r"^TimeoutStopSec=(\d+)$", UNIT, re.MULTILINE)[0]) >= least


def test_the_workflow_stores_no_secret() -> None:
    """It signs in by OIDC, so it needs leave to ask for a token, and no password."""
    text = (FILES / "github-actions.yml").read_text(encoding="utf-8")
    workflow = yaml.safe_load(text)

    assert workflow["permissions"] == {"id-token": "write", "contents": "read"}
    assert "secrets." not in text
    for name in workflow["jobs"]["deploy"]["env"]:
        assert f"`{name}`" in PAGE


def test_the_page_names_files_that_are_there() -> None:
    links = re.findall(r"\]\((?!https:|#)([^)#]+)", PAGE)
    commands = re.findall(r"(?:docs/deploy|infra)/[\w.-]+", PAGE)

    assert [link for link in links if not (ROOT / "docs" / link).exists()] == []
    assert [path for path in commands if not (ROOT / path).exists()] == []


def test_the_page_links_to_sections_that_are_there() -> None:
    for name, anchor in re.findall(r"\]\(([\w./]*)#([\w-]+)\)", PAGE):
        text = (ROOT / "docs" / name).read_text(encoding="utf-8") if name else PAGE
        titles = re.findall(r"^#+ (.+)$", text, re.MULTILINE)
        assert anchor in {re.sub(r"[^\w -]", "", title.lower()).replace(" ", "-") for title in titles}


def test_the_page_has_the_costs_that_are_reckoned() -> None:
    """Else: `python -m bench.billing` prints the table."""
    assert [line for line in lines(months()) if line not in PAGE] == []


# https://learn.microsoft.com/azure/role-based-access-control/built-in-roles
ROLES = {
    "b7e6dc6d-f1e8-4753-8033-0f276bb0955b": "Storage Blob Data Owner",
    "974c5e8b-45b9-4653-ba55-5f855dd0fb88": "Storage Queue Data Contributor",
    "3913510d-42f4-4e42-8a64-420c390055eb": "Monitoring Metrics Publisher",
    "4633458b-17de-408a-b874-0445c86b69e6": "Key Vault Secrets User",
}


def test_the_page_names_every_right_that_the_identity_gets() -> None:
    """Those, and no others."""
    made = "\n".join(path.read_text(encoding="utf-8") for path in (ROOT / "infra").glob("*.bicep"))
    given = re.findall(r"'([0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})'", made)
    table = PAGE.partition("| right | on | why |")[2].partition("\n\n")[0]
    named = [row.split("|")[1].partition(",")[0].strip() for row in table.strip().splitlines()[1:]]

    assert sorted(name for name in named if not name.startswith("access policy")) == sorted(ROLES[one] for one in given)
