"""`make screenshots`: the pictures of the README, of the page and of the status in a terminal, from an app at work.

It starts a server of its own with a few targets, where some entries fail. It needs chromium, or one that CHROMIUM
names.
"""

import json
import os
import pty
import re
import shutil
import subprocess
import sys
import time
from contextlib import suppress
from io import StringIO
from pathlib import Path

from playwright.sync_api import sync_playwright
from redis import Redis
from rich.console import Console
from rich.text import Text

from dev.server import Server
from dev.tweets import tweets

DOCS = Path(__file__).parents[1] / "docs"
WIDTH, HEIGHT, COLUMNS = 1280, 800, 110
KEY = "key-of-the-screenshots"
ENTRIES = {"tweets_stream": 3000, "orders": 400, "payments": 0}


def fill(port: int) -> None:
    """Entries that a consumer has read and left; of the orders some can never be stored."""
    with Redis(host="127.0.0.1", port=port) as client:
        for stream, count in ENTRIES.items():
            client.xgroup_create(stream, "workers", id="0", mkstream=True)
            for number, tweet in enumerate(tweets(count, 4)):
                fields = tweet[2:] if stream == "orders" and number % 50 == 0 else tweet
                client.execute_command("XADD", stream, "*", *fields)
            if count:
                client.xreadgroup("workers", "pod-7d9c5b6f4-x2x9q", {stream: ">"}, count=count)


def environment(port: int) -> dict[str, str]:
    """The settings of the app."""
    targets = [{"stream": stream, "group": "workers"} for stream in ENTRIES]
    return {
        **os.environ,
        "REDIS_HOST": f"127.0.0.1:{port}",
        "REDIS_TLS": "false",
        "RECLAIM_TARGETS": json.dumps(targets),
        "MIN_IDLE_TIME_SEC": "0.5",
        "DEV_FUNCTION_KEY": KEY,
    }


def in_terminal(command: list[str], env: dict[str, str]) -> str:
    """What a program prints to a terminal of so many columns, with its colours."""
    pid, terminal = pty.fork()
    if pid == 0:
        os.execve(command[0], command, {**env, "TERM": "xterm-256color", "COLUMNS": str(COLUMNS)})  # noqa: S606  # a terminal of ours is its own
    seen = b""
    with suppress(OSError):  # which says that the program has ended
        while chunk := os.read(terminal, 65_536):
            seen += chunk
    os.waitpid(pid, 0)
    os.close(terminal)
    return seen.decode().replace("\r\n", "\n")


def picture_of_terminal(text: str) -> str:
    """The text as an SVG, in the reader's own monospace font: a picture that loads nothing."""
    console = Console(record=True, width=COLUMNS, file=StringIO(), force_terminal=True)
    console.print(Text.from_ansi(text), soft_wrap=True)
    drawn = console.export_svg(title="reclaim status", unique_id="status")
    drawn = re.sub(r"@font-face \{.*?\}", "", drawn, flags=re.DOTALL)
    return "\n".join(line.rstrip() for line in drawn.replace("Fira Code", "ui-monospace").splitlines() if line.strip())


def picture_of_page(address: str, path: Path) -> None:
    """The dashboard in a browser, as it is when the key was typed."""
    program = os.environ.get("CHROMIUM") or shutil.which("chromium")
    with sync_playwright() as playwright:
        browser = playwright.chromium.launch(executable_path=program, args=["--no-sandbox"])
        page = browser.new_page(viewport={"width": WIDTH, "height": HEIGHT}, locale="en-GB", timezone_id="UTC")
        page.goto(address)
        page.get_by_label("Function key").fill(KEY)
        page.get_by_role("button", name="Show the status").click()
        page.locator("#runs-rows tr").first.wait_for()
        page.mouse.move(0, 0)  # off the tile that lies where the button was
        page.wait_for_timeout(1000)
        page.screenshot(path=path)
        browser.close()


def main() -> None:
    """Write both pictures to docs/."""
    with Server() as server:
        fill(server.port)
        time.sleep(1)  # until the entries are idle
        env = environment(server.port)
        subprocess.run([sys.executable, "-m", "reclaim", "run"], env=env, check=True, stderr=subprocess.DEVNULL)
        host = [sys.executable, "-m", "dev.host", "--port", "0", "--no-timers"]
        with subprocess.Popen(host, env=env, stdout=subprocess.PIPE, text=True) as process:
            try:
                lines = process.stdout or ()
                address = next(line.strip() for line in lines if line.startswith("http://"))
                picture_of_page(address, DOCS / "page.png")
            finally:
                process.terminate()
        shown = in_terminal([sys.executable, "-m", "reclaim", "status"], env)
        (DOCS / "terminal.svg").write_text(f"{picture_of_terminal(shown)}\n", encoding="utf-8")


if __name__ == "__main__":
    main()
