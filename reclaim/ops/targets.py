"""Owns which target a person means: the one that is named, or the only one that there is."""

from reclaim.app import App, Unit
from reclaim.errors import UnknownTarget


def named_units(app: App, target: str | None) -> list[Unit]:
    """The unit of the named target; all units if the name is None.

    Raises:
        UnknownTarget: the target is not configured.
    """
    if target is None:
        return list(app.units.values())
    unit = app.unit_of(target)
    if unit is None:
        raise UnknownTarget(target, app.units)
    return [unit]


def the_unit(app: App, target: str | None) -> Unit:
    """The unit of the named target; the only unit if the name is None.

    Raises:
        UnknownTarget: the target is not configured; or the name is None and there are several targets.
    """
    units = named_units(app, target)
    if len(units) > 1:
        raise UnknownTarget(None, app.units)
    return units[0]
