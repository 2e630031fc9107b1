"""Owns what is checked of Bicep files: names, modules and, by Azure's own type data, every property that they set.

`python -m dev.bicep_check infra/main.bicep ../shared/azure` prints what is wrong. The data is that of Bicep's compiler
(https://github.com/Azure/bicep-types-az), cut to the resource types that infra/ uses: files `azure-types*.json` in a
folder. It is stricter than the compiler in one thing: where the data lists values and allows any other text besides,
only the listed ones pass.
"""

import json
import re
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

from dev.bicep import Body, File, Object, OneOf, Reader, Some, Symbol, alternatives, read

REQUIRED, READ_ONLY = 1, 2  # flags of a property in the type data
OF_BICEP = {"parent", "scope", "dependsOn"}  # properties that are Bicep's own
LEFT_OUT = {
    "description"
}  # the cut of the data left out all texts so called, and the properties of that name with them
NOT_IN_DATA = {  # what the cut of the data does not have; it is checked if the data has it
    *(f"Microsoft.Network/{kind}" for kind in ("virtualNetworks", "privateEndpoints", "privateDnsZones")),
    "Microsoft.Network/privateEndpoints/privateDnsZoneGroups",
    "Microsoft.Network/privateDnsZones/virtualNetworkLinks",
    "Microsoft.Resources/resourceGroups",
}
SECRET = re.compile("password|secret|webhook", re.IGNORECASE)
DECORATORS = {"allowed", "description", "maxLength", "maxValue", "metadata", "minLength", "minValue", "secure"}


@dataclass(frozen=True, slots=True, order=True)
class Mistake:
    """Something that is wrong, and where."""

    path: str
    line: int
    text: str

    def __str__(self) -> str:
        return f"{self.path}:{self.line}: {self.text}"


class Types:
    """Azure's type data."""

    def __init__(self, folder: Path) -> None:
        self._resources: dict[str, tuple[list[dict[str, Any]], dict[str, Any]]] = {}
        for path in sorted(folder.glob("azure-types*.json")):
            for types in json.loads(path.read_text(encoding="utf-8")).values():
                found = (one for one in types if one["$type"] == "ResourceType")
                self._resources |= {one["name"].lower(): (types, one) for one in found}

    def __bool__(self) -> bool:
        return bool(self._resources)

    def has(self, name: str) -> bool:
        """Whether the data has a resource type of this name and API version."""
        return name.lower() in self._resources

    def body(self, name: str) -> "Type":
        """The type of a resource's body."""
        types, resource = self._resources[name.lower()]
        return Type(types, resource["body"])

    def versions(self, name: str) -> list[str]:
        """The API versions that the data has of a resource type."""
        kind = name.lower().partition("@")[0]
        return sorted(one.partition("@")[2] for one in self._resources if one.partition("@")[0] == kind)


class Type:
    """One type of the data."""

    def __init__(self, types: list[dict[str, Any]], reference: dict[str, str]) -> None:
        self._types = types
        self.raw = types[int(reference["$ref"].removeprefix("#/"))]
        self.kind: str = self.raw["$type"]

    def to(self, reference: dict[str, str]) -> "Type":
        """Another type of the same data."""
        return Type(self._types, reference)

    def elements(self) -> Iterator["Type"]:
        """The types of a union; itself if it is none."""
        if self.kind == "UnionType":
            for one in self.raw["elements"]:
                yield from self.to(one).elements()
        else:
            yield self

    def properties(self, value: Object | None) -> dict[str, Any]:
        """The properties of an object; of one with a discriminator, those that its value asks for."""
        if self.kind == "ObjectType":
            return dict(self.raw["properties"])
        base = dict(self.raw.get("baseProperties", {}))
        chosen = value and value.properties.get(self.raw["discriminator"])
        for name, reference in self.raw["elements"].items():
            if not isinstance(chosen, str) or chosen == name:
                base |= self.to(reference).raw["properties"]
        return base

    def choices(self) -> list[str]:
        """The values of a discriminator."""
        return sorted(self.raw["elements"]) if self.kind == "DiscriminatedObjectType" else []


class Check:
    """The check of one deployment: a file and the modules that it uses."""

    def __init__(self, types: Types) -> None:
        self._types = types
        self.mistakes: set[Mistake] = set()
        self.untyped: set[str] = set()
        self._files: dict[Path, File] = {}

    def file(self, path: Path) -> File:
        """Check a file and its modules, each once."""
        if path in self._files:
            return self._files[path]
        file = self._files[path] = read(path)
        for param in file.params.values():
            self._param(file, param.name)
        for name, (_, line) in file.variables.items():
            if name not in file.used:
                file.problem(line, f"the variable {name!r} is not used")
        for body in file.resources.values():
            self._resource(file, body)
        for body in file.modules.values():
            self._module(file, body)
        for name, (_, _, line) in file.outputs.items():
            if SECRET.search(name):
                file.problem(line, f"the output {name!r} looks like a secret: outputs are kept in the clear")
        for line, symbol in file.members:
            self._member(file, line, symbol)
        self.mistakes |= {Mistake(path.name, line, text) for line, text in file.problems}
        return file

    def _param(self, file: File, name: str) -> None:
        param = file.params[name]
        if name not in file.used:
            file.problem(param.line, f"the parameter {name!r} is not used")
        if "description" not in param.decorators and file.path.name == "main.bicep":
            file.problem(param.line, f"the parameter {name!r} is not described")
        for decorator in param.decorators.keys() - DECORATORS:
            file.problem(param.line, f"there is no decorator {decorator!r}")
        if SECRET.search(name) and "secure" not in param.decorators:
            file.problem(param.line, f"the parameter {name!r} looks like a secret, and is not @secure()")
        if param.default is None:
            return
        reader = Reader(file)
        default, allowed = reader.value(param.default), param.decorators.get("allowed")
        if _kind(default) not in {param.kind.removesuffix("?"), "any", "null"} and not param.kind.endswith("[]"):
            file.problem(param.line, f"the parameter {name!r} is a {param.kind}, its default a {_kind(default)}")
        if allowed is not None and default not in reader.value(allowed.named_children[1].named_children[0]):
            file.problem(param.line, f"the default of {name!r} is not allowed: {default!r}")

    # --- resources ---

    def _resource(self, file: File, body: Body) -> None:
        if not re.fullmatch(r"[\w.]+(/\w+)+@\d{4}-\d\d-\d\d(-preview)?", body.of):
            file.problem(body.line, f"{body.of!r} is no resource type with an API version")
            return
        if not self._types:
            return
        if not self._types.has(body.of):
            versions = self._types.versions(body.of)
            if versions:
                file.problem(body.line, f"{body.of}: there is no such API version; there is {', '.join(versions)}")
            elif (kind := body.of.partition("@")[0]) in NOT_IN_DATA:
                self.untyped.add(kind)
            else:
                file.problem(body.line, f"there is no resource type {kind!r}")
            return
        for value in _bodies(body):
            self._parent(file, body, value)
            of = self._types.body(body.of)
            given = {name: one for name, one in value.properties.items() if name not in OF_BICEP}
            rest = Object(given, value.lines, value.line, value.is_open)
            if body.is_existing:
                for name in given.keys() - {"name"}:
                    file.problem(value.lines[name], f"{body.name} exists: {name!r} cannot be set")
                if "name" not in given:
                    file.problem(body.line, f"{body.name}: 'name' is missing")
            else:
                self._object(file, rest, of, body.name, value.line)

    def _parent(self, file: File, body: Body, value: Object) -> None:
        """A child names its parent, which is of the type that the child's type begins with."""
        kind = body.of.partition("@")[0]
        owner, _, _ = kind.rpartition("/")
        if "parent" not in value.properties:
            if owner.count("/") and kind.split("/")[0] != "Microsoft.Resources":
                file.problem(body.line, f"{body.name} is a {kind} and names no parent")
            return
        parent = value.properties["parent"]
        if not isinstance(parent, Symbol) or parent.name not in file.resources:
            file.problem(value.lines["parent"], f"the parent of {body.name} is no resource of this file")
        elif file.resources[parent.name].of.partition("@")[0] != owner:
            file.problem(value.lines["parent"], f"the parent of {body.name} must be a {owner}")

    def _object(self, file: File, value: Object, kind: Type, place: str, line: int) -> None:
        properties = kind.properties(value)
        chosen = kind.raw.get("discriminator")
        if chosen and isinstance(given := value.properties.get(chosen), str) and given not in kind.choices():
            file.problem(value.lines[chosen], f"{place}.{chosen}: {given!r} is none of {', '.join(kind.choices())}")
            return
        more = kind.raw.get("additionalProperties")
        for name, inner in value.properties.items():
            at = value.lines[name]
            if name in properties:
                row = properties[name]
                if row["flags"] & READ_ONLY and not row["flags"] & REQUIRED:
                    file.problem(at, f"{place}.{name} cannot be set: it is read-only")
                else:
                    self._value(file, inner, kind.to(row["type"]), f"{place}.{name}", at)
            elif more:
                self._value(file, inner, kind.to(more), f"{place}.{name}", at)
            elif name not in LEFT_OUT:
                file.problem(at, f"{place} has no property {name!r}; there is {', '.join(sorted(properties))[:200]}")
        for name, row in properties.items():
            is_required = row["flags"] & REQUIRED and not row["flags"] & READ_ONLY
            if is_required and name not in value.properties and not value.is_open:
                file.problem(line, f"{place}: {name!r} is missing")

    def _value(self, file: File, value: Any, kind: Type, place: str, line: int) -> None:
        for one in alternatives(value):
            if one is None or isinstance(one, Symbol) or kind.kind == "AnyType":
                continue
            options = list(kind.elements())
            fitting = [option for option in options if _fits(one, option)]
            if not fitting:
                wanted = sorted({_wanted(option) for option in options})
                file.problem(line, f"{place}: {_shown(one)} is not {' or '.join(wanted)}")
            elif isinstance(one, Object):
                self._object(file, one, fitting[0], place, one.line)
            elif isinstance(one, list):
                for item in one:
                    self._value(file, item, fitting[0].to(fitting[0].raw["itemType"]), f"{place}[]", line)
            elif isinstance(one, str):
                self._text(file, one, options, place, line)
            elif isinstance(one, int) and not isinstance(one, bool):
                self._number(file, one, fitting, place, line)

    @staticmethod
    def _text(file: File, value: str, options: list[Type], place: str, line: int) -> None:
        literals = [option.raw["value"] for option in options if option.kind == "StringLiteralType"]
        if literals and value not in literals:
            file.problem(line, f"{place}: {value!r} is none of {', '.join(literals)[:200]}")
        for option in options if not literals else ():
            pattern, longest, shortest = (option.raw.get(name) for name in ("pattern", "maxLength", "minLength"))
            if pattern and not re.search(pattern, value):
                file.problem(line, f"{place}: {value!r} does not match {pattern}")
            if not (shortest or 0) <= len(value) <= (longest or len(value)):
                file.problem(line, f"{place}: {value!r} must have {shortest or 0} to {longest} characters")

    @staticmethod
    def _number(file: File, value: int, options: list[Type], place: str, line: int) -> None:
        low, high = options[0].raw.get("minValue"), options[0].raw.get("maxValue")
        if (low is not None and value < low) or (high is not None and value > high):
            file.problem(line, f"{place}: {value} is not between {low} and {high}")

    # --- modules and members ---

    def _module(self, file: File, body: Body) -> None:
        path = (file.path.parent / body.of).resolve()
        if not body.of.endswith(".bicep") or not path.is_file():
            file.problem(body.line, f"there is no module {body.of!r}")
            return
        module = self.file(path)
        for value in _bodies(body):
            for name in value.properties.keys() - {"name", "scope", "params", "dependsOn"}:
                file.problem(value.lines[name], f"a module has no property {name!r}")
            if file.scope != module.scope and "scope" not in value.properties:
                file.problem(value.line, f"{body.name}: a module for a {module.scope} needs a scope here")
            self._params(file, body, value, module)

    @staticmethod
    def _params(file: File, body: Body, value: Object, module: File) -> None:
        given = value.properties.get("params", Object({}, {}, value.line))
        for name in given.properties.keys() - module.params.keys():
            file.problem(given.lines[name], f"{body.of} has no parameter {name!r}")
        for name, param in module.params.items():
            if name not in given.properties and param.default is None:
                file.problem(given.line, f"{body.of}: the parameter {name!r} is missing")
            fits = {"any", "null", param.kind, "array" if param.kind.endswith("[]") else param.kind}
            for one in alternatives(given.properties.get(name)):
                if (kind := _kind(one)) not in fits:
                    file.problem(given.lines[name], f"{body.of}: {name!r} is a {param.kind}, not a {kind}")

    def _member(self, file: File, line: int, symbol: Symbol) -> None:
        """A member of a resource or a module is one that it has."""
        if symbol.name in file.modules:
            path = (file.path.parent / file.modules[symbol.name].of).resolve()
            if len(symbol.path) > 1 and path in self._files and symbol.path[1] not in self._files[path].outputs:
                file.problem(line, f"{symbol.name} has no output {symbol.path[1]!r}")
            elif symbol.path[0] not in {"outputs", "name"}:
                file.problem(line, f"a module has no {symbol.path[0]!r}")
            return
        of = file.resources[symbol.name].of
        if not self._types or not self._types.has(of):
            return
        kind = self._types.body(of)
        for name in symbol.path:
            if kind.kind not in {"ObjectType", "DiscriminatedObjectType"} or "additionalProperties" in kind.raw:
                return
            properties = kind.properties(None)
            if name not in properties:
                file.problem(line, f"{symbol.name}.{'.'.join(symbol.path)}: there is no {name!r}")
                return
            kind = kind.to(properties[name]["type"])


def _bodies(body: Body) -> list[Object]:
    """What a resource or module is made of; in a loop, of each turn alike."""
    values = body.value if isinstance(body.value, list) else [body.value]
    return [one for value in values for one in alternatives(value) if isinstance(one, Object)]


def _fits(value: Any, kind: Type) -> bool:
    wanted = {
        "string": {"StringType", "StringLiteralType"},
        "int": {"IntegerType"},
        "bool": {"BooleanType"},
        "array": {"ArrayType"},
        "object": {"ObjectType", "DiscriminatedObjectType"},
    }
    of = _kind(value)
    return of == "any" or kind.kind == "AnyType" or kind.kind in wanted.get(of.removesuffix("[]"), ())


_KINDS = {type(None): "null", bool: "bool", int: "int", str: "string", list: "array", Object: "object"}


def _kind(value: Any) -> str:
    if isinstance(value, Some):
        return "array" if value.kind.endswith("[]") else value.kind
    if isinstance(value, OneOf):
        kinds = {_kind(one) for one in alternatives(value)} - {"null"}
        return kinds.pop() if len(kinds) == 1 else "any"
    return _KINDS.get(type(value), "any")


def _wanted(kind: Type) -> str:
    return repr(kind.raw["value"]) if kind.kind == "StringLiteralType" else kind.kind.removesuffix("Type").lower()


def _shown(value: Any) -> str:
    return repr(value) if isinstance(value, str | int) else f"a {_kind(value)}"


_types = cache(Types)


def check(main: Path, data: Path | None) -> tuple[list[Mistake], set[str]]:
    """All mistakes of a deployment, and the resource types that the type data does not have.

    Args:
        main: the file that is deployed; its modules are checked with it.
        data: the folder with the type data; None: only what needs none is checked.
    """
    checking = Check(_types(data) if data else Types(Path("nowhere")))
    checking.file(main.resolve())
    return sorted(checking.mistakes), checking.untyped


if __name__ == "__main__":
    found, unknown = check(Path(sys.argv[1]), Path(sys.argv[2]) if len(sys.argv) > 2 else None)
    print("\n".join(map(str, found)) or "nothing is wrong")
    if unknown:
        print(f"not in the type data: {', '.join(sorted(unknown))}")
    sys.exit(bool(found))
