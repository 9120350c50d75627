"""The registry: names, facts, equations and traits of rules, and rules of other packages."""

import re
import sys

import pytest

from hebbian import Backprop, oja, registry
from hebbian.rule_info import RuleInfo, register_rule, registered
from hebbian.two_factor import register_plasticity
from tests.test_hebbian.every_rule import NAMES, data, grads, net
from tests.test_hebbian.helpers import assert_same
from tests.test_hebbian.oracles import oracle_tests
from trainers.provenance import suppliers

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
        name, value, dist = "mine", "package:mine", None
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
    with pytest.warns(RuntimeWarning, match=r"'package:mine' of hebbian\.rules: not registered"):
        assert set(registry.list_rules()) == set(NAMES)


@pytest.mark.parametrize(
    ("code", "cause"),
    [
        ("", "AttributeError: module 'my_broken' has no attribute 'Nope'"),
        ("import no_such_package", "ModuleNotFoundError: No module named 'no_such_package'"),
        ("1 / 0", "ZeroDivisionError: division by zero"),
        ("Nope = 3", "not registered as a rule"),
    ],
)
def test_a_broken_package_costs_its_own_rules_only(code, cause, tmp_path, monkeypatch):
    info = tmp_path / "broken_rules-2.1.dist-info"
    info.mkdir()
    (info / "METADATA").write_text("Metadata-Version: 2.1\nName: broken-rules\nVersion: 2.1\n")
    (info / "entry_points.txt").write_text("[hebbian.rules]\nnope = my_broken:Nope\n")
    (tmp_path / "my_broken.py").write_text(code)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.delitem(sys.modules, "my_broken", raising=False)
    line = "entry point nope = 'my_broken:Nope' of hebbian.rules (package broken-rules 2.1): "
    with pytest.warns(RuntimeWarning, match=re.escape(line) + ".*" + re.escape(cause)):
        assert registry.find_rule("oja").name == "oja"
    with (
        pytest.warns(RuntimeWarning, match="its rules are left out"),
        pytest.raises(ValueError, match=re.escape(line) + ".*" + re.escape(cause)),
    ):
        registry.find_rule("nope")
    assert suppliers(["oja"], "digits") == {}
