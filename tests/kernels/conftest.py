"""Which of the slow tests of every method are for the continuous integration."""

from typing import Any

import pytest
from method_list import FEW_IMPLICIT, IMPLICIT


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark slow tests of implicit methods as exhaustive, but for one method of each family."""
    for item in items:
        callspec = getattr(item, "callspec", None)
        if callspec is None or item.get_closest_marker("slow") is None:
            continue
        named = set(_names(callspec.params.values())) & set(IMPLICIT)
        if named and named.isdisjoint(FEW_IMPLICIT):
            item.add_marker("exhaustive")


def _names(values: Any) -> list[str]:
    found: list[str] = []
    for value in values:
        if isinstance(value, str):
            found.append(value)
        elif isinstance(value, dict):
            found += _names(value.values())
        elif isinstance(value, tuple | list):
            found += _names(value)
    return found
