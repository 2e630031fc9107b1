"""The dashboard with several targets, and with a hundred."""

import json
import re
from collections.abc import Callable, Iterator
from typing import Any

import pytest
from playwright.sync_api import expect

from tests.e2e.http.apps import KEY, OTHER, TARGET, App
from tests.e2e.http.browser import Dashboard, violations, wants_a_browser
from tests.e2e.http.letters import dead, lose
from tests.support import Client, a_target, given, held, tweet

pytestmark = wants_a_browser


def test_two_targets_are_shown_side_by_side(two: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """Each with its own word; what is done is done to the one that is looked at."""
    given(client, TARGET, *held(range(3), idle_ms=0))
    given(client, OTHER, *held(range(5), idle_ms=0))
    dead(client, tweet(7), target=OTHER)
    dashboard = visit(two)
    page = dashboard.page
    dashboard.enter()
    rows = page.locator("#targets tr")
    dashboard.sees("for 1 consumer")

    expect(rows).to_have_text([re.compile(f"{OTHER.name}.*needs a look.*5"), re.compile(f"{TARGET.name}.*3")])
    dashboard.tile("pending", "5")
    dashboard.letters(1)
    dashboard.chooses(TARGET.name)
    dashboard.tile("pending", "3")
    dashboard.letters(0)
    dashboard.chooses(OTHER.name)
    dashboard.tile("pending", "5")
    dashboard.letters(1)

    dashboard.press("Discard all…")
    dashboard.sees(f"Discard the only dead letter of {OTHER.name}?")
    dashboard.discards()
    dashboard.sees(f"{OTHER.name}: 1 dead letter is discarded.")
    dashboard.press("Open the circuit…")
    dashboard.sees(f"Open the circuit of {OTHER.name}")
    page.get_by_label("Reason").fill("a test")
    page.get_by_label("Your name").fill("Ada")
    dashboard.press("Open it")
    dashboard.word("Failing")

    states = {one["target"]: one["circuit"] for one in two.get("status")["overview"]}
    assert states == {TARGET.name: "closed", OTHER.name: "open"}
    dashboard.chooses(TARGET.name)
    dashboard.word("Needs a look")
    expect(page).to_have_title("Failing \N{EN DASH} reclaim")


@pytest.mark.parametrize("width", [390, 1280])
def test_a_phone_says_below_its_name_what_else_is_wrong_with_a_target(
    two: App, client: Client, visit: Callable[..., Dashboard], width: int
) -> None:
    """There is no room for the columns that would say it."""
    given(client, TARGET)
    given(client, OTHER)
    lose(client, 1, 2, 3, target=OTHER)
    two.post("circuit", target=OTHER.name, action="open", reason="a test", who="Ada")
    dashboard = visit(two, viewport={"width": width, "height": 844})
    dashboard.enter()

    said = dashboard.page.locator("#targets").get_by_text("3 lost, circuit open", exact=True)
    expect(said).to_have_count(1)
    expect(said).to_be_visible(visible=width == 390)
    assert dashboard.page.evaluate("document.documentElement.scrollWidth <= innerWidth")


def test_a_link_to_a_target_survives_a_reload(two: App, client: Client, visit: Callable[..., Dashboard]) -> None:
    """As an alert has it. What is chosen is named in the address, and going to a section does not change that."""
    given(client, TARGET, *held(range(3), idle_ms=0))
    given(client, OTHER)
    dashboard = visit(two)
    page = dashboard.page
    link = f"#target={OTHER.name}"
    page.goto(f"{two.base}/api/dashboard{link}")
    page.get_by_label("Function key").fill(KEY)
    dashboard.press("Show the status")

    expect(page.locator("#whose")).to_have_text(OTHER.name)
    page.reload()
    expect(page.locator("#whose")).to_have_text(OTHER.name)
    page.locator("#tile-dead").click()
    expect(page.locator("#dead")).to_be_focused()
    assert page.evaluate("location.hash") == link

    dashboard.chooses(TARGET.name)
    assert page.evaluate("location.hash") == f"#target={TARGET.name}"
    page.evaluate(f"location.hash = '{link}'")
    expect(page.locator("#whose")).to_have_text(OTHER.name)


def test_a_link_to_a_target_that_is_gone_shows_the_worst(
    two: App, client: Client, visit: Callable[..., Dashboard]
) -> None:
    """An old alert is opened after its target was taken out of the settings."""
    given(client, TARGET)
    given(client, OTHER)
    dead(client, tweet(1), target=OTHER)
    dashboard = visit(two)
    dashboard.page.goto(f"{two.base}/api/dashboard#target=gone/g")
    dashboard.page.get_by_label("Function key").fill(KEY)
    dashboard.press("Show the status")

    expect(dashboard.page.locator("#whose")).to_have_text(OTHER.name)
    assert dashboard.page.evaluate("location.hash") == f"#target={OTHER.name}"


@pytest.fixture(scope="module")
def hundred(serve: Callable[..., Any], servers: Any) -> Iterator[tuple[App, list[Any]]]:
    """An app with a hundred targets, and the targets."""
    targets = [a_target(stream=f"orders-of-region-{number}", group="billing") for number in range(100)]
    named = [{"stream": one.stream, "group": one.group, "min_idle_time_sec": 1} for one in targets]
    with serve(servers.get("valkey-9").port, RECLAIM_TARGETS=json.dumps(named)) as app:
        yield app, targets


def test_a_hundred_targets_leave_the_verdict_in_sight(
    hundred: tuple[App, list[Any]], client: Client, visit: Callable[..., Dashboard]
) -> None:
    """The worst first; a box finds one by a part of its name, and the one that is looked at stays in sight."""
    app, targets = hundred
    for target in targets:
        given(client, target)
    dead(client, tweet(1), tweet(2), target=targets[70])
    dead(client, tweet(1), target=targets[30])
    dashboard = visit(app, viewport={"width": 1280, "height": 800}, bypass_csp=True)  # which axe needs
    page = dashboard.page
    dashboard.enter()

    expect(page.locator("#targets-h")).to_contain_text("100 targets")
    expect(page.locator("#whose")).to_have_text(targets[70].name)
    assert page.locator("#targets button").all_inner_texts()[:2] == [targets[70].name, targets[30].name]
    assert page.locator("#verdict").bounding_box()["y"] + page.locator("#verdict").bounding_box()["height"] < 800
    page.get_by_label("Find a target").fill("REGION-98")
    expect(page.locator("#targets tr")).to_have_count(1)
    dashboard.chooses(targets[98].name)
    page.get_by_label("Find a target").fill("")
    expect(page.locator("#targets tr")).to_have_count(100)
    page.reload()
    expect(page.locator("#whose")).to_have_text(targets[98].name)
    expect(page.locator('#targets button[aria-current="true"]')).to_be_in_viewport()
    page.get_by_label("Find a target").fill("nowhere")
    dashboard.sees("No target has “nowhere” in its name.")
    page.get_by_label("Find a target").fill("")
    assert violations(page) == []
