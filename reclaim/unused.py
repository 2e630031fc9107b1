"""Owns the names in an environment that look like settings of ours and are none: which, and which of ours is meant.

Most are only told of. One that contradicts what is used is refused: whoever sets REDIS_DATABASE=1 would else have us
work in database 0, on somebody else's stream. No value is shown, for it may be a password.
"""

import re
from collections.abc import Iterator, Mapping
from typing import NamedTuple

from reclaim.address import Address, BadValue, read_url
from reclaim.reading import Warned

# Names that other programs, charts and services use, by what we call the same thing.
_MEANT = {
    "REDIS_HOST": "REDIS_HOSTNAME REDIS_SERVER REDIS_ADDR REDIS_ADDRESS REDIS_ENDPOINT REDIS_MASTER_HOST",
    "REDIS_URL": """REDIS_CONNECTION_STRING REDIS_CONNECTIONSTRING REDIS_CONNECTION REDIS_CONN REDIS_URI REDIS_DSN
        REDIS_TLS_URL REDISCONNECTIONSTRING REDIS_CACHE_CONNECTION_STRING REDISCACHECONNECTION AZURE_REDIS_URL
        AZURE_REDIS_CONNECTION_STRING AZURE_REDIS_CONNECTIONSTRING REDISCLOUD_URL""",
    "REDIS_DB": """REDIS_DATABASE REDIS_DATABASE_NUMBER REDIS_DATABASE_INDEX REDIS_DB_NUMBER REDIS_DB_INDEX REDIS_DBNUM
        REDIS_DB_ID REDIS_DB_NUM REDIS_DEFAULT_DATABASE REDIS_INDEX AZURE_REDIS_DATABASE""",
    "REDIS_TLS": """REDIS_SSL REDIS_USE_SSL REDIS_USE_TLS REDIS_SSL_ENABLED REDIS_TLS_ENABLED REDIS_ENABLE_SSL
        REDIS_ENABLE_TLS REDIS_IS_SSL AZURE_REDIS_SSL""",
    "REDIS_USERNAME": "REDIS_USER REDIS_USER_NAME REDIS_ACL_USER REDIS_ACL_USERNAME REDIS_LOGIN",
    "REDIS_PASSWORD": """REDIS_PASS REDIS_PASSWD REDIS_PWD REDIS_KEY REDIS_ACCESS_KEY REDIS_ACCESSKEY REDIS_PRIMARY_KEY
        REDIS_AUTH_TOKEN REDIS_AUTH_PASSWORD REDIS_SECRET REDISCLI_AUTH AZURE_REDIS_PASSWORD REDIS_PASSWORD_FILE""",
    "REDIS_CA_FILE": """REDIS_CA REDIS_CA_CERT REDIS_CACERT REDIS_CA_CERTS REDIS_SSL_CA REDIS_SSL_CA_CERTS
        REDIS_SSL_CA_FILE REDIS_TLS_CA REDIS_TLS_CA_FILE REDIS_TLS_CA_CERT REDIS_TLS_CERT_FILE""",
    "REDIS_CLUSTER": "REDIS_CLUSTER_NODES REDIS_NODES REDIS_CLUSTER_MODE REDIS_CLUSTER_ENABLED REDIS_IS_CLUSTER",
}
_OURS = {name: ours for ours, names in _MEANT.items() for name in names.split()}
_OF_SENTINEL = re.compile(r"REDIS_SENTINELS?(_\w+)?|REDIS_MASTER_(NAME|SET)")
# What Kubernetes sets for a Service (https://kubernetes.io/docs/concepts/services-networking/service/#environment-variables).
_OF_KUBERNETES = re.compile(r"\w+_SERVICE_(HOST|PORT(_\w+)?)|\w+_PORT_\d+_\w+")
_YES, _NO = {"true", "1", "yes", "on"}, {"false", "0", "no", "off"}


class Unused(NamedTuple):
    """What is wrong with the names that are no settings of ours, and what is only told."""

    problems: list[str]
    warnings: list[Warned]


def look_for_unused(env: Mapping[str, str], used: Address | None = None) -> Unused:
    """Names that look like settings of ours; refused where they contradict `used`, if that is given."""
    found = Unused([], [])
    for name in sorted(name for name in env if "REDIS" in name.upper() and env[name].strip()):
        given, called = env[name].strip(), name.upper()
        if _OF_KUBERNETES.fullmatch(called) or given.startswith("tcp://"):
            continue
        if _OF_SENTINEL.fullmatch(called):
            todo = "no Sentinel is asked: REDIS_HOST has to name the primary, or a name that follows it"
            found.warnings.append(Warned(f"{name} is no setting of ours", todo))
        elif called == "REDIS_PORT":
            found.problems.extend(_port(given, used))
        elif called in _OURS:
            ours = _OURS[called]
            against = _against(ours, given, used) if used is not None else None
            if against is None:
                found.warnings.append(Warned(f"{name} is no setting of ours", f"{ours} is, if that is meant"))
            else:
                found.problems.append(
                    f"{name} is no setting of ours, and says {against}; allowed: {ours} instead of it"
                )
    return found


def _port(given: str, used: Address | None) -> Iterator[str]:
    """Whether REDIS_PORT, which the port in REDIS_HOST stands for here, names another one."""
    if used is None or not given.isdecimal() or used.socket_path is not None or int(given) == used.port:
        return
    yield (
        f"REDIS_PORT is no setting of ours, and says another port than the one that is used, {used.port}; "
        "allowed: the port in REDIS_HOST, as in host:6380"
    )


def _against(ours: str, given: str, used: Address) -> str | None:
    """What a value says that is not so; None where it says nothing else than what is used, or nothing clear."""
    if ours == "REDIS_DB" and given.isdecimal() and int(given) != used.db:
        return f"another database than the one that is used, {used.db}"
    if ours == "REDIS_TLS" and given.lower() in (_NO if used.tls else _YES):
        return f"that TLS is {'off' if used.tls else 'on'}, which is {'on' if used.tls else 'off'}"
    if ours == "REDIS_USERNAME" and given != (used.username or "default"):
        return "another user than the one that is used"
    if ours == "REDIS_CLUSTER" and given.lower() in _YES:
        return "that there is a cluster"
    return _against_url(given, used) if ours == "REDIS_URL" else None


def _against_url(given: str, used: Address) -> str | None:
    """Whether a URL names the same host, but something else there. Another host may be for somebody else."""
    try:
        said = read_url(given)
    except BadValue:
        return None
    if (said.host, said.socket_path) != (used.host, used.socket_path):
        return None
    if said.db != used.db:
        return f"another database than the one that is used, {used.db}"
    if said.port not in {None, used.port}:
        return f"another port than the one that is used, {used.port}"
    return None
