"""schemathesis holds the app to its OpenAPI document: what is allowed is done, what is not is refused, as it says."""

import subprocess
import sys
from pathlib import Path

from tests.e2e.http.apps import KEY, TARGET, App
from tests.support import Client, given, held, tweet

# Not checked: what the host answers to a method that a path does not have.
CHECKS = "all"
NOT_CHECKED = "unsupported_method,allow_header_conformance"
LIMIT_SEC = 100


def test_the_app_keeps_to_its_document(app: App, client: Client, tmp_path: Path) -> None:
    """Requests made from the document, good and bad, bounded in number, the same in every run."""
    given(client, TARGET, *held(range(20)))
    for number in range(60):
        about = {"id": f"{number}-0", "reason": "failed", "error": "x", "consumer": "c", "deliveries": 5}
        flat = [part for pair in about.items() for part in pair] + ["at", "2026-01-02T03:04:05.678+00:00"]
        body = [part if at % 2 else b"field:" + part for at, part in enumerate(tweet(number, text=b"\0\xff<b>"))]
        client.execute_command("XADD", TARGET.keys.dead, "*", *flat, *body)
    program = [sys.executable, "-m", "schemathesis.cli", "run", f"{app.base}/api/openapi.json"]
    options = ["--phases=examples,coverage,fuzzing", "--max-examples=15", "--seed=4", "--generation-database=none"]
    checks = [f"--checks={CHECKS}", f"--exclude-checks={NOT_CHECKED}", "--request-timeout=30", "--no-color"]

    ended = subprocess.run(
        [*program, *options, *checks, f"--header=x-functions-key: {KEY}"],
        cwd=tmp_path,
        capture_output=True,
        text=True,
        timeout=LIMIT_SEC,
        check=False,
    )

    assert ended.returncode == 0, ended.stdout + ended.stderr
    assert "16/16" in ended.stdout, ended.stdout
