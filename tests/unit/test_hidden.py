"""What is hidden of a text that a client or a service wrote: what may be a secret, and little else."""

import httpx
import pytest
from aiohttp import ClientResponseError, RequestInfo
from multidict import CIMultiDict, CIMultiDictProxy
from yarl import URL

from reclaim.errors import describe, said
from reclaim.hidden import Secrets, without_secrets
from reclaim.tracebacks import whole

pytestmark = pytest.mark.G9


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("for url 'https://h/orders?code=c4n4ry&x=1' we", "for url 'https://h/orders?***' we"),
        ("url=https://h?sig=c4n4ry", "url=https://h?***"),
        ("(postgres://shop:c4n4ry@db:5432/orders)", "(postgres://***@db:5432/orders)"),
        ("redis://:c4n4ry@h/0 and redis://:c4n4ry@i/0", "redis://***@h/0 and redis://***@i/0"),
        ("(postgres://shop:c4@n4ry@db:5432/orders)", "(postgres://***@db:5432/orders)"),
        ("host=db password=c4n4ry dbname=x", "host=db password=*** dbname=x"),
        ("Config(host='db', password='c4 n4ry', port=1)", "Config(host='db', password=***, port=1)"),
        ("no login with {'user': 'u', 'password': 'c4n4ry'}", "no login with {'user': 'u', 'password': ***}"),
        ('{"API-Key" : "c4 n4ry", "n": 1}', '{"API-Key" : ***, "n": 1}'),
        ("AccountName=a;AccountKey=c4n4ry==;EndpointSuffix=e", "AccountName=a;AccountKey=***;EndpointSuffix=e"),
        ("Bearer eyJhbGciOiJub25lIn0.eyJvaWQiOiJjNG40cnkifQ.c4n4ry refused", "Bearer *** refused"),
    ],
)
def test_what_may_be_a_secret_is_hidden(text: str, shown: str) -> None:
    assert without_secrets(text) == shown


@pytest.mark.parametrize(
    "text",
    [
        "no field 'id' for 'tweet:{id}'",
        "https://docs.example.org/a/b#c says so; why? a@b.c",
        "exit code=5, keys=7, eyJ",
        "unexpected token: '}' at 1; bad password: 'no' is not long enough",
        "see http://h/a@b",
        "confluent_kafka.cimpl.KafkaException: host:9092/1: Connection refused",
    ],
)
def test_nothing_else_is_hidden(text: str) -> None:
    assert without_secrets(text) == text


def _of_httpx() -> Exception:
    request = httpx.Request("GET", "https://u:c4n4ry@h/orders?code=c4n4ry")
    return httpx.HTTPStatusError(
        f"Client error '404' for url '{request.url}'", request=request, response=httpx.Response(404)
    )


def _of_aiohttp() -> Exception:
    url, headers = URL("http://h/orders?code=c4n4ry"), CIMultiDictProxy(CIMultiDict[str]())
    return ClientResponseError(RequestInfo(url, "GET", headers, url), (), status=404, message="Not Found")


@pytest.mark.parametrize("error", [_of_httpx(), _of_aiohttp()])
def test_a_clients_error_is_told_without_the_key_in_its_address(error: Exception) -> None:
    """As a reason, as a text and as a traceback."""
    try:
        raise error
    except Exception as exc:  # noqa: BLE001  # both are told in the same way
        told = [describe(exc), said(exc), whole(exc, exc.__traceback__)]
    assert "c4n4ry" in str(error)
    assert [("/orders?***" in text, "c4n4ry" in text) for text in told] == [(True, False)] * 3


def test_what_a_service_repeats_of_its_secrets_is_hidden() -> None:
    """Of an address whose path may be shown, the query and the keys; of one that is secret, the path too."""
    url, answer = "https://h/hooks/T0000?code=c%2B4n4ry", "no hooks/T0000 for code=c+4n4ry, key k3yk3y"
    shown = [
        Secrets.of_query(url, ["k3yk3y"]).hidden_in(answer),
        Secrets.of_address(url, ["k3yk3y"]).hidden_in(answer),
    ]
    assert shown == ["no hooks/T0000 for …, key …", "no …/… for …, key …"]


def test_a_service_may_repeat_a_token_or_a_password_alone() -> None:
    """Of a header's value what follows the first word is secret by itself, and of an address its password."""
    hidden = Secrets.of_query("https://shop:c%2B4n4ry@h/orders", ["Bearer t0kent0ken"])

    assert hidden.hidden_in("Bearer what? no t0kent0ken, no c+4n4ry") == "Bearer what? no …, no …"


def test_of_a_text_that_is_cut_off_the_beginning_of_a_secret_is_hidden_too() -> None:
    """So much of an answer is read, and there it may just repeat an address."""
    hidden = Secrets.of_address("https://h/services/T0000/c4n4ryc4n4ry", [])

    told = [hidden.hidden_in(f"no {'/services/T0000/c4n4ryc4n4ry'[:at]}", is_cut=True) for at in range(29)]

    assert not any("c4n" in text or "/T" in text for text in told)
    assert hidden.hidden_in("no hook", is_cut=True) == "no hook"
