"""Owns the finding of the exception classes that a target's settings name: RETRY_ON and REJECT_ON."""

import builtins
import importlib
from collections.abc import Sequence
from typing import Any

from reclaim.errors import SettingsError, describe
from reclaim.kinds import NAMES
from reclaim.settings import Target
from reclaim.verdicts import OwnErrors


def own_errors(target: Target) -> OwnErrors:
    """The classes that the settings name.

    Raises:
        SettingsError: naming every class that cannot be found, or that is no exception class.
    """
    problems: list[str] = []
    retry = _classes("RETRY_ON", target.retry_on or (), problems)
    reject = _classes("REJECT_ON", target.reject_on or (), problems)
    both = sorted(cls.__qualname__ for cls in set(retry) & set(reject))
    problems += [f"RETRY_ON and REJECT_ON both name {name}; allowed: one of them" for name in both]
    if problems:
        raise SettingsError(problems)
    return OwnErrors(retry, reject)


def _classes(setting: str, names: Sequence[str], problems: list[str]) -> tuple[type[Exception], ...]:
    found: list[type[Exception]] = []
    for name in names:
        try:
            found.append(_class(name))
        except Exception as exc:  # noqa: BLE001  # a module of the user's can raise anything while it is imported
            allowed = f"{NAMES.allowed}, each an exception class"
            problems.append(f"{setting} is {name!r}; allowed: {allowed} ({describe(exc)})")
    return tuple(found)


def _class(name: str) -> type[Exception]:
    """The class of this name; one without a module is Python's own."""
    module, _, _ = name.rpartition(".")
    found: Any = _imported(name, module) if module else getattr(builtins, name)
    if not (isinstance(found, type) and issubclass(found, Exception)):
        raise TypeError(f"{name} is no exception class")
    return found


def _imported(name: str, module: str) -> Any:
    """The attribute of this name, in the longest part of the name that is a module: classes may be in classes."""
    try:
        found: Any = importlib.import_module(module)
    except ModuleNotFoundError as exc:
        outer, _, _ = module.rpartition(".")
        if not outer or exc.name is None or not f"{module}.".startswith(f"{exc.name}."):
            raise
        return _attribute(_imported(module, outer), name)
    return _attribute(found, name)


def _attribute(holder: Any, name: str) -> Any:
    return getattr(holder, name.rpartition(".")[2])
