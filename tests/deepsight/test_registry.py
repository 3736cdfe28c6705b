"""Names, parameters and duplicates of a registry, and entry points that load when they are asked for."""

from __future__ import annotations

import sys
from importlib.metadata import EntryPoint
from pathlib import Path
from typing import Annotated, Any

import pytest
from pydantic import Field
from torch import Tensor, nn

from deepsight import registry as module
from deepsight.errors import UserError
from deepsight.registry import Registry

HERE = Path(__file__)


@pytest.fixture
def spices() -> Registry[Any]:
    registry: Registry[Any] = Registry("spice", "spices", supplied=("n",), reserved=("amount",))

    @registry.register("salt", formula="NaCl", source="the sea")
    class Salt:
        """White grains.

        They dissolve.
        """

        def __init__(self, n: int, grain: float = 1.5, kind: str = "coarse") -> None:
            self.n, self.grain, self.kind = n, grain, kind

    @registry.register("pepper")
    def pepper(n: int, heat: Annotated[int, Field(ge=1)]) -> tuple[int, int]:
        return n, heat

    return registry


def test_a_component_knows_what_it_is(spices: Registry[Any]) -> None:
    salt = spices["salt"]
    assert (salt.kind, salt.name, salt.summary) == ("spice", "salt", "White grains.")
    assert (salt.formula, salt.source) == ("NaCl", "the sea")
    assert list(salt.parameters.model_fields) == ["grain", "kind"]
    assert salt.file == str(HERE)
    assert "class Salt" in "".join(HERE.read_text().splitlines(keepends=True)[salt.line - 1 : salt.line + 1])
    assert spices["pepper"].summary == ""


def test_names_are_sorted_and_enumerable(spices: Registry[Any]) -> None:
    assert spices.names() == ["pepper", "salt"]
    assert [component.name for component in spices] == ["pepper", "salt"]
    assert "salt" in spices
    assert "sugar" not in spices


def test_a_name_and_a_mapping_with_a_name_are_the_same(spices: Registry[Any]) -> None:
    complete = {"name": "salt", "grain": 1.5, "kind": "coarse"}
    assert spices.resolve("salt") == spices.resolve({"name": "salt"}) == complete
    assert spices.resolve(complete) == complete
    assert spices.resolve({"name": "salt", "grain": 2}) == {"name": "salt", "grain": 2.0, "kind": "coarse"}


def test_classes_are_called_and_functions_get_their_parameters(spices: Registry[Any]) -> None:
    salt = spices.build({"name": "salt", "grain": 2}, n=4)
    assert (salt.n, salt.grain) == (4, 2.0)
    pepper = spices.build({"name": "pepper", "heat": 3})
    assert pepper(n=7) == (7, 3)


@pytest.mark.parametrize(
    ("spec", "said"),
    [
        ("slat", "unknown spice 'slat'; did you mean 'salt'? known: pepper, salt"),
        ({"name": "qqq"}, "unknown spice 'qqq'; known: pepper, salt"),
        ({"name": "salt", "gran": 1}, "unknown key 'gran'; did you mean 'grain'? known: grain, kind"),
        ({"name": "salt", "grain": "x"}, 'grain: this should be a valid number, not "x"'),
        ({"name": "salt", "n": 3}, "unknown key 'n'"),
        ("pepper", "the key 'heat' is missing"),
        ({"name": "pepper", "heat": 0}, "heat: this should be greater than or equal to 1, not 0"),
        ({"grain": 3}, "a name or a mapping with a name is needed for a spice, not {'grain': 3}"),
        (3, "a name or a mapping with a name is needed for a spice, not 3"),
        ({"name": 3}, "a name or a mapping with a name is needed for a spice"),
    ],
)
def test_what_cannot_be_resolved_is_named(spices: Registry[Any], spec: Any, said: str) -> None:
    with pytest.raises(UserError) as caught:
        spices.resolve(spec)
    assert str(caught.value).startswith(said)


def test_a_second_component_of_one_name_is_refused_with_both_places(spices: Registry[Any]) -> None:
    def salt(n: int) -> None: ...

    with pytest.raises(UserError) as caught:
        spices.register("salt")(salt)
    line = salt.__code__.co_firstlineno
    said = f"{HERE}:{line}: the spice 'salt' is already registered by {HERE}:{spices['salt'].line}"
    assert str(caught.value) == said


def test_the_same_component_twice_is_once(spices: Registry[Any]) -> None:
    factory = spices["salt"].factory
    assert spices.register("salt")(factory) is factory
    assert spices.names() == ["pepper", "salt"]


def without_n(heat: int) -> None: ...
def untyped(n: int, heat=1) -> None: ...  # type: ignore[no-untyped-def]
def starred(n: int, *rest: int) -> None: ...
def keywords(n: int, **rest: int) -> None: ...
def positional(n: int, heat: int, /) -> None: ...
def named_name(n: int, name: str) -> None: ...
def named_amount(n: int, amount: int) -> None: ...
def unreadable(n: int, heat: Unknown) -> None: ...  # type: ignore[name-defined]
def unusable(n: int, heat: Tensor) -> None: ...
def clashing(n: int, model_config: int) -> None: ...
def underscored(n: int, _heat: int) -> None: ...


@pytest.mark.parametrize(
    ("factory", "said"),
    [
        (without_n, "the spice 'sugar' must take 'n'"),
        (untyped, "the parameter 'heat' of the spice 'sugar' has no type"),
        (starred, "the parameter 'rest' of the spice 'sugar' cannot be given by name"),
        (keywords, "the parameter 'rest' of the spice 'sugar' cannot be given by name"),
        (positional, "the parameter 'heat' of the spice 'sugar' cannot be given by name"),
        (named_name, "a parameter of the spice 'sugar' cannot be called 'name'"),
        (named_amount, "a parameter of the spice 'sugar' cannot be called 'amount'"),
        (unreadable, "the spice 'sugar' has an annotation that cannot be read: name 'Unknown' is not defined"),
        (unusable, "the spice 'sugar' has a parameter that cannot be configured: Unable to generate"),
        (underscored, "a parameter of the spice 'sugar' cannot be called '_heat'"),
        (clashing, "a parameter of the spice 'sugar' cannot be called 'model_config'"),
    ],
)
def test_a_signature_that_cannot_be_configured_is_named(spices: Registry[Any], factory: Any, said: str) -> None:
    spices.supplied = ("n",)
    with pytest.raises(UserError) as caught:
        spices.register("sugar")(factory)
    assert str(caught.value).startswith(f"{HERE}:{factory.__code__.co_firstlineno}: {said}")
    assert "sugar" not in spices


@pytest.mark.parametrize("name", ["", "two words", "3d", "a.b", "a-b"])
def test_a_name_is_one_plain_word(spices: Registry[Any], name: str) -> None:
    with pytest.raises(UserError, match="cannot name a spice: use letters, digits and _"):
        spices.register(name)(spices["salt"].factory)


def test_a_class_without_docstring_does_not_borrow_its_parents(spices: Registry[Any]) -> None:
    @spices.register("bare")
    class Bare(nn.Module):
        def __init__(self, n: int) -> None:
            super().__init__()

    assert spices["bare"].summary == ""


@pytest.mark.parametrize("parent", [object, nn.Module])
def test_a_class_that_leaves_its_constructor_to_its_parent_has_no_parameters(parent: type) -> None:
    plain: Registry[Any] = Registry("plain", "plains", offered=("width",))
    factory = plain.register("bare")(type("Bare", (parent,), {}))
    assert plain.resolve("bare") == {"name": "bare"}
    assert isinstance(plain.build("bare", width=3), factory)


@pytest.fixture
def installed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Return a function that pretends an installed package with entry points: name → module:attribute."""
    monkeypatch.syspath_prepend(tmp_path)

    def install(modules: dict[str, str], points: list[tuple[str, str]]) -> Registry[Any]:
        for name, text in modules.items():
            file = tmp_path / f"{name}.py"
            file.parent.mkdir(exist_ok=True)
            file.write_text(text, encoding="utf-8")
        found = [EntryPoint(name, value, "deepsight.spices") for name, value in points]
        monkeypatch.setattr(module, "entry_points", lambda group: [p for p in found if p.group == group])
        module._entry_points_of.cache_clear()
        return Registry("spice", "spices")

    yield install
    module._entry_points_of.cache_clear()


def test_entry_points_are_named_at_once_and_imported_when_asked_for(installed: Any) -> None:
    text = 'def mild(heat: int = 1) -> int:\n    """Little heat."""\n    return heat\n'
    spices = installed({"shop_lazy": text}, [("paprika", "shop_lazy:mild")])
    assert spices.names() == ["paprika"]
    assert "paprika" in spices
    with pytest.raises(UserError, match="did you mean 'paprika'"):
        spices.resolve("paprica")
    assert "shop_lazy" not in sys.modules
    assert spices["paprika"].summary == "Little heat."
    assert spices.build({"name": "paprika", "heat": 4})() == 4
    assert "shop_lazy" in sys.modules


def test_a_broken_entry_point_hurts_only_when_asked_for(installed: Any) -> None:
    spices = installed({"shop_broken": "import nothing_of_that_name\n"}, [("cumin", "shop_broken:cumin")])
    assert spices.names() == ["cumin"]
    with pytest.raises(UserError) as caught:
        spices["cumin"]
    said = "the spice 'cumin' (shop_broken:cumin) cannot be imported: ModuleNotFoundError: No module named"
    assert str(caught.value).startswith(said)


def test_two_packages_with_one_name_are_an_error_when_it_is_asked_for(installed: Any) -> None:
    points = [("cumin", "shop_a:cumin"), ("cumin", "shop_b:cumin")]
    spices = installed({}, points)
    with pytest.raises(
        UserError, match="several installed packages offer the spice 'cumin': shop_a:cumin, shop_b:cumin"
    ):
        spices["cumin"]


def test_a_plug_in_cannot_take_an_installed_name(installed: Any) -> None:
    spices = installed({}, [("cumin", "shop_a:cumin")])
    with pytest.raises(UserError, match="the spice 'cumin' is already registered by shop_a:cumin"):
        spices.register("cumin")(lambda: None)


def test_a_package_may_decorate_a_component_and_offer_it_from_another_module(installed: Any) -> None:
    decorated = [
        "import test_spices",
        "@test_spices.spices.register('cumin', formula='seeds')",
        "def cumin(): return 1",
    ]
    modules = {"shop_d/__init__": "from shop_d.inner import cumin\n", "shop_d/inner": "\n".join(decorated)}
    spices = installed(modules, [("cumin", "shop_d:cumin")])
    sys.modules["test_spices"] = holder = type(sys)("test_spices")
    holder.spices = spices  # type: ignore[attr-defined]
    try:
        assert spices["cumin"].formula == "seeds"
    finally:
        del sys.modules["test_spices"]
