"""Owns reading Bicep: the declarations of a file, and what is known of the values without a deployment.

Nothing here knows Azure; dev/bicep_check.py does. It does not know all of Bicep: infra/ uses no type and no function
of its own, and no spread operator.
"""

import json
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import tree_sitter_bicep
from tree_sitter import Language, Node, Parser

_PARSER = Parser(Language(tree_sitter_bicep.language()))

# What Bicep's functions return, of those that infra/ may use (https://learn.microsoft.com/azure/azure-resource-manager).
RETURNS = {
    **dict.fromkeys(
        "base64 format guid join last loadTextContent replace resourceId string subscriptionResourceId substring take"
        " tenantResourceId toLower toUpper trim uniqueString uri".split(),
        "string",
    ),
    **dict.fromkeys("contains empty startsWith endsWith".split(), "bool"),
    **dict.fromkeys("concat filter items map split createArray".split(), "array"),
    **dict.fromkeys("int length".split(), "int"),
    **dict.fromkeys(
        "deployment environment resourceGroup subscription tenant toObject union reduce loadJsonContent".split(), "any"
    ),
    **dict.fromkeys("first json".split(), "any"),
}
METHODS = {"listKeys"}
LOCAL = {"for_statement", "lambda_expression"}  # their first child is a name that holds inside
NAMED_FIRST = LOCAL | {  # their first child is a name, and not one that is used
    *("parameter_declaration", "variable_declaration", "output_declaration", "resource_declaration"),
    *("module_declaration", "object_property", "call_expression"),
}


# --- values ----------------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Some:
    """A value that only a deployment knows: its kind (string, int, bool, array, object), or any."""

    kind: str = "any"


@dataclass(frozen=True, slots=True)
class OneOf:
    """One of several values; which one only a deployment knows."""

    values: tuple[Any, ...]


@dataclass(frozen=True, slots=True)
class Object:
    """An object: its properties, and where each stands. `is_open` if it may have more than we know."""

    properties: dict[str, Any]
    lines: dict[str, int]
    line: int
    is_open: bool = False


@dataclass(frozen=True, slots=True)
class Symbol:
    """A resource or a module, or (with `path`) a member of it."""

    name: str
    path: tuple[str, ...] = ()


# --- declarations ----------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Param:
    """A parameter: its kind, what is allowed, and its decorators by name."""

    name: str
    line: int
    kind: str
    default: Node | None
    decorators: dict[str, Node]


@dataclass(frozen=True, slots=True)
class Body:
    """A resource (its type and API version) or a module (its path), and what it is made of."""

    name: str
    line: int
    of: str
    value: Any
    is_existing: bool = False
    is_loop: bool = False


@dataclass(slots=True)
class File:
    """A Bicep file. `problems` are its own mistakes: (line, sentence)."""

    path: Path
    text: str
    problems: list[tuple[int, str]] = field(default_factory=list)
    params: dict[str, Param] = field(default_factory=dict)
    variables: dict[str, tuple[Node, int]] = field(default_factory=dict)
    bodies: dict[str, tuple[Node, bool]] = field(default_factory=dict)
    outputs: dict[str, tuple[str, Node, int]] = field(default_factory=dict)
    scope: str = "resourceGroup"
    used: set[str] = field(default_factory=set)
    resources: dict[str, Body] = field(default_factory=dict)
    modules: dict[str, Body] = field(default_factory=dict)
    members: list[tuple[int, Symbol]] = field(default_factory=list)

    def problem(self, node: Node | int, text: str) -> None:
        """Note a mistake."""
        self.problems.append((node if isinstance(node, int) else _line(node), text))


def read(path: Path) -> File:
    """Read a Bicep file."""
    text = path.read_text(encoding="utf-8")
    file = File(path, text)
    root = _PARSER.parse(text.encode()).root_node
    for node in _walk(root):
        if node.is_error or node.is_missing:
            file.problem(node, f"syntax: {_text(node)[:40]!r} is not understood")
    decorators: dict[str, Node] = {}
    for node in root.named_children:
        if node.type == "decorators":
            decorators = {_text(_call_of(one).named_children[0]): _call_of(one) for one in node.named_children}
            continue
        _declare(file, node, decorators)
        decorators = {}
    _evaluate(file, root)
    return file


def _declare(file: File, node: Node, decorators: dict[str, Node]) -> None:
    children = [child for child in node.named_children if child.type != "comment"]
    match node.type:
        case "target_scope_assignment":
            file.scope = _text(children[0]).strip("'")
        case "parameter_declaration":
            name, kind = _text(children[0]), _text(children[1])
            default = children[2] if len(children) > 2 else None
            file.params[name] = Param(name, _line(node), kind, default, decorators)
        case "variable_declaration":
            file.variables[_text(children[0])] = (children[1], _line(node))
        case "output_declaration":
            file.outputs[_text(children[0])] = (_text(children[1]), children[2], _line(node))
        case "resource_declaration" | "module_declaration":
            file.bodies[_text(children[0])] = (node, node.type == "module_declaration")
        case "comment" | "ERROR":
            pass
        case other:
            file.problem(node, f"a {other} is not read here")


def _evaluate(file: File, root: Node) -> None:
    """The bodies of resources and modules as values, and which names are used."""
    reader = Reader(file)
    for name, (node, is_module) in file.bodies.items():
        of, body = [child for child in node.named_children if child.type not in {"identifier", "comment"}][:2]
        existing = any(child.type == "existing" for child in node.children)
        value = reader.value(body)
        target = file.modules if is_module else file.resources
        target[name] = Body(name, _line(node), _text(of).strip("'"), value, existing, body.type == "for_statement")
    for _, node, _ in file.outputs.values():
        reader.value(node)
    for node, _ in file.variables.values():
        reader.value(node)
    for param in file.params.values():
        if param.default is not None:
            reader.value(param.default)
    _names(file, root, frozenset())


def _names(file: File, node: Node, local: frozenset[str]) -> None:
    """Note which names an expression uses, and which of them nobody declared."""
    if node.type in {"decorators", "type"}:
        return
    if node.type == "identifier":
        name = _text(node)
        file.used.add(name)
        if name not in local and name not in (file.params | file.variables | file.bodies):
            file.problem(node, f"{name!r} is not declared")
        return
    children = list(node.named_children)
    if node.type in NAMED_FIRST and children and children[0].type in {"identifier", "for_loop_parameters"}:
        if node.type in LOCAL:
            local |= {_text(one) for one in children[0].named_children} or {_text(children[0])}
        if node.type == "call_expression" and _text(children[0]) not in RETURNS:
            file.problem(node, f"{_text(children[0])}() is not a function that is known here")
        children = children[1:]
    for child in children:
        _names(file, child, local)


# --- values of expressions -------------------------------------------------------------------------------------------


class Reader:
    """What is known of an expression's value without a deployment."""

    def __init__(self, file: File) -> None:
        self._file = file
        self._local: dict[str, Any] = {}

    def value(self, node: Node) -> Any:
        """A literal, a list, an `Object`, a `Symbol`; `OneOf` several; or `Some`."""
        children = [child for child in node.named_children if child.type != "comment"]
        if node.type in {"number", "boolean", "null"}:
            return json.loads(_text(node))
        read = getattr(self, f"_{node.type}", None)
        if read is not None:
            return read(node, children)
        return self._unknown("any", children)

    def _unknown(self, kind: str, children: list[Node]) -> Some:
        """A value of which only the kind is known. The members that its expression names are noted."""
        for child in children:
            self.value(child)
        return Some(kind)

    def _string(self, _: Node, children: list[Node]) -> Any:
        parts = [child for child in children if child.type == "interpolation"]
        return self._unknown("string", parts) if parts else "".join(map(_text, children))

    def _array(self, _: Node, children: list[Node]) -> list[Any]:
        return [self.value(child) for child in children]

    def _ternary_expression(self, _: Node, children: list[Node]) -> Any:
        self.value(children[0])
        return _one_of(self.value(children[1]), self.value(children[2]))

    def _parenthesized_expression(self, _: Node, children: list[Node]) -> Any:
        return self.value(children[0])

    def _if_statement(self, _: Node, children: list[Node]) -> Any:
        self.value(children[0])
        return self.value(children[1])

    def _binary_expression(self, node: Node, children: list[Node]) -> Any:
        operators = {child.type for child in node.children}
        if "??" in operators:
            return _one_of(self.value(children[0]), self.value(children[1]))
        return self._unknown("int" if operators & set("+-*/%") else "bool", children)

    def _unary_expression(self, _: Node, children: list[Node]) -> Any:
        return self._unknown("bool", children)

    def _lambda_expression(self, *_: Any) -> Any:
        return Some()  # what its argument is, nobody here knows

    def _object(self, node: Node, children: list[Node]) -> Object:
        properties: dict[str, Any] = {}
        lines: dict[str, int] = {}
        is_open = False
        for child in children:
            if child.type != "object_property" or len(child.named_children) < 2:
                continue
            key, given = child.named_children[0], child.named_children[-1]
            name, value = _text(key).strip("'"), self.value(given)
            if any(one.type == "interpolation" for one in key.named_children):
                is_open = True
                continue
            if name in properties:
                self._file.problem(child, f"{name!r} stands twice in one object")
            properties[name], lines[name] = value, _line(child)
        return Object(properties, lines, _line(node), is_open)

    def _for_statement(self, _: Node, children: list[Node]) -> list[Any]:
        names = [_text(one) for one in children[0].named_children] or [_text(children[0])]
        over = self.value(children[1])
        before = dict(self._local)
        self._local[names[0]] = _one_of(*over) if isinstance(over, list) and over else Some()
        made = self.value(children[2])
        self._local = before
        return [made]

    def _identifier(self, node: Node, _: list[Node]) -> Any:
        return self._named(_text(node))

    def _member_expression(self, node: Node, children: list[Node]) -> Any:
        return self._member(self.value(children[0]), _text(children[1]), node)

    def _call_expression(self, node: Node, children: list[Node]) -> Any:
        name = _text(children[0]) if children[0].type == "identifier" else ""
        given = [self.value(one) for one in (children[1].named_children if len(children) > 1 else ())]
        if not name:  # a method of a resource
            resource, method = children[0].named_children
            self.value(resource)
            if _text(method) not in METHODS:
                self._file.problem(node, f".{_text(method)}() is not a function that is known here")
        if (
            name == "loadTextContent"
            and isinstance(given[0], str)
            and not (self._file.path.parent / given[0]).is_file()
        ):
            self._file.problem(node, f"there is no file {given[0]!r}")
        return merged(given, _line(node)) if name == "union" else Some(RETURNS.get(name, "any"))

    def _named(self, name: str) -> Any:
        if name in self._local:
            return self._local[name]
        if name in self._file.bodies:
            return Symbol(name)
        if name in self._file.variables:
            return self.value(self._file.variables[name][0])
        param = self._file.params.get(name)
        if param is None:
            return Some()
        allowed = param.decorators.get("allowed")
        if allowed is None:
            return Some(param.kind.removesuffix("?"))
        return _one_of(*self.value(allowed.named_children[1].named_children[0]))

    def _member(self, base: Any, name: str, node: Node) -> Any:
        if isinstance(base, OneOf):
            return _one_of(*(self._member(one, name, node) for one in base.values))
        if isinstance(base, Object):
            if name not in base.properties and not base.is_open:
                self._file.problem(node, f"there is no {name!r} in it")
            return base.properties.get(name, Some())
        if isinstance(base, Symbol):
            symbol = Symbol(base.name, (*base.path, name))
            self._file.members.append((_line(node), symbol))
            return symbol
        return Some()


def merged(values: list[Any], line: int) -> Any:
    """The objects as one, in which each property may have any of its values."""
    together: dict[str, list[Any]] = {}
    lines: dict[str, int] = {}
    is_open = False
    for value in values:
        objects = list(alternatives(value))
        is_open |= any(not isinstance(one, Object) or one.is_open for one in objects)
        for one in objects:
            if isinstance(one, Object):
                for name, inner in one.properties.items():
                    together.setdefault(name, []).append(inner)
                    lines.setdefault(name, one.lines[name])
    return Object({name: _one_of(*inner) for name, inner in together.items()}, lines, line, is_open)


def alternatives(value: Any) -> Iterator[Any]:
    """The values that it may have."""
    if isinstance(value, OneOf):
        for one in value.values:
            yield from alternatives(one)
    else:
        yield value


def _one_of(*values: Any) -> Any:
    return values[0] if len(values) == 1 else OneOf(values)


def _call_of(decorator: Node) -> Node:
    return decorator.named_children[0]


def _walk(node: Node) -> Iterator[Node]:
    yield node
    for child in node.children:
        yield from _walk(child)


def _text(node: Node) -> str:
    return (node.text or b"").decode()


def _line(node: Node) -> int:
    return node.start_point[0] + 1
