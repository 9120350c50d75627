"""Fixtures: the name of every rule, and the rule on one net."""

import pytest

from tests.test_hebbian.every_rule import NAMES, build, net


@pytest.fixture(params=NAMES)
def name(request):
    return request.param


@pytest.fixture
def rule(name):
    return build(name, net(name=name))
