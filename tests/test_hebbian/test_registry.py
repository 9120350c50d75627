"""The registry: names, facts, equations and traits of rules, and rules of other packages."""

import pytest

from hebbian import Backprop, oja, registry
from hebbian.rule_info import RuleInfo, register_rule, registered
from hebbian.two_factor import register_plasticity
from tests.test_hebbian.every_rule import NAMES, data, grads, net
from tests.test_hebbian.helpers import assert_same
from tests.test_hebbian.oracles import oracle_tests

FACTS = {
    "family": "mine",
    "source": "me",
    "needs": "any model",
    "build": lambda make, c: make(c.model, c.loss),
}


def test_an_unknown_name_is_answered_with_the_nearest():
    with pytest.raises(ValueError, match="did you mean 'krotov'"):
        registry.find_rule("krotow")


@pytest.mark.parametrize("name", [*NAMES, *registry.list_modules()])
def test_every_rule_states_its_facts_and_its_equation_once(name):
    info = registry.describe_rule(name)
    assert all((info.family, info.source, info.needs))
    assert "=" in info.equation or "descends" in info.equation


@pytest.mark.parametrize("name", [*NAMES, *registry.list_modules()])
def test_every_rule_has_an_oracle(name):
    assert oracle_tests()[name]


def test_every_oracle_is_of_a_rule():
    assert set(oracle_tests()) == {*NAMES, *registry.list_modules()}


def test_traits_are_declared_and_known():
    with pytest.raises(ValueError, match=r"'mine': unknown traits \['nosy'\]; expected some of"):
        register_rule(name="mine", traits={"nosy"}, **FACTS)(Backprop)


def test_the_equation_is_the_marked_block_of_the_docstring():
    @register_rule(name="mine", **FACTS)
    class Mine(Backprop):
        """Mine.

        Equation::

            dw = y xᵀ,
            y = u

        Not this: dw = 0.
        """

    (info,) = registered(Mine)
    assert info.equation == "dw = y xᵀ, y = u"


def test_a_subclass_is_not_registered_as_its_base():
    class Mine(Backprop):
        pass

    assert [info.name for info in registered(Backprop)] == ["backprop"]
    assert registered(Mine) == ()


def test_another_package_registers_a_rule(monkeypatch):
    @register_plasticity(name="mine", source="me")
    def mine(u, w):
        return oja(u, w)

    class Point:
        value = "package:mine"
        loaded = staticmethod(mine)

        def load(self):
            return self.loaded

    monkeypatch.setattr(registry, "installed_rules", lambda: (Point(),))
    info = registry.find_rule("mine")
    assert isinstance(info, RuleInfo)
    assert (info.traits, info.supervised) == ({"local"}, False)
    x = data()[0]
    found, expected = (
        grads(registry.build(name, net(), None, example=x, classes=4), x, None) for name in ("mine", "oja")
    )
    assert_same(found, expected)
    Point.loaded = staticmethod(oja)
    with pytest.raises(ValueError, match="'package:mine': a rule named 'oja' exists already"):
        registry.list_rules()
    Point.loaded = "not registered"
    with pytest.raises(TypeError, match=r"'package:mine' of hebbian\.rules: not registered"):
        registry.list_rules()
