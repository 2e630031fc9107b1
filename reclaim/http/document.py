"""Owns the OpenAPI document: openapi.json describes the answers, and the types in requests.py describe the requests."""

import copy
import json
from collections.abc import Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from reclaim import __version__
from reclaim.http.requests import REQUESTS, Body, GetStatus, Nothing, Query, Run, schemas
from reclaim.prefix import path_of

_TARGET = {"$ref": "#/components/schemas/Target"}


def document(targets: Sequence[str], prefix: str = "") -> dict[str, Any]:
    """The document of an app with these targets. If there are several, it says that a request has to name one."""
    made = copy.deepcopy(_answers())
    made["info"]["version"] = __version__
    made["servers"] = [{"url": path_of(prefix)}]
    kept = made["components"]["schemas"]
    kept["Target"]["enum"] = list(targets)
    for operation in (one for methods in made["paths"].values() for one in methods.values()):
        kind = REQUESTS.get(operation["operationId"], Nothing)
        schema = _schema(kind, must_name=len(targets) > 1 and kind not in {GetStatus, Run})
        if issubclass(kind, Body):
            kept[kind.__name__] = schema
            operation["requestBody"] = _request_body(kind, schema)
        elif schema["properties"]:
            operation["parameters"] = [_parameter(name, schema) for name in schema["properties"]]
    return made


@cache
def _answers() -> dict[str, Any]:
    found: dict[str, Any] = json.loads(Path(__file__).with_name("openapi.json").read_bytes())
    return found


def _schema(kind: type[Query] | type[Body], *, must_name: bool) -> dict[str, Any]:
    made: dict[str, Any] = copy.deepcopy(schemas()[kind.__name__])
    if "target" in made["properties"]:
        made["properties"]["target"] = _TARGET
        made["required"] += ["target"] if must_name else []
    return made


def _request_body(kind: type[Body], schema: Mapping[str, Any]) -> dict[str, Any]:
    content = {"application/json": {"schema": {"$ref": f"#/components/schemas/{kind.__name__}"}}}
    return {"required": bool(schema["required"]), "content": content}


def _parameter(name: str, schema: Mapping[str, Any]) -> dict[str, Any]:
    return {"name": name, "in": "query", "required": name in schema["required"], "schema": schema["properties"][name]}
