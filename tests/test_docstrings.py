"""Contents of every public docstring.

A public function, class or method has an example of its own, which runs as it would when pasted; properties are shown
in the example of their class. The docstring of whatever takes arguments names them, and says what is raised.
"""

import doctest
import inspect
import re
from collections.abc import Iterator
from typing import Any

import pytest

import gpuquant

NOT_MADE_BY_USERS = {"Batch"}  # quantize_files makes it
RAISES_NOTHING = {
    "ColorHistogram.add_counted",
    "ColorHistogram.add_rows",
    "ColorHistogram.merge",
    "KMeans",
}  # the last checks in fit
Member = tuple[str, Any]


def public_names() -> list[Member]:
    return [(name, getattr(gpuquant, name)) for name in gpuquant.__all__]


def members(kind: type) -> Iterator[Member]:
    """The public methods and properties that a class itself defines."""
    for name, value in vars(kind).items():
        plain = value.__func__ if isinstance(value, classmethod | staticmethod) else value
        if not name.startswith("_") and (inspect.isfunction(plain) or isinstance(plain, property)):
            yield name, plain


CLASSES = [(name, value) for name, value in public_names() if inspect.isclass(value)]
METHODS = [
    (f"{owner}.{name}", value)
    for owner, kind in CLASSES
    for name, value in members(kind)
    if not isinstance(value, property)
]
FUNCTIONS = [(name, value) for name, value in public_names() if not inspect.isclass(value)] + METHODS
PROPERTIES = [
    (owner, name, value) for owner, kind in CLASSES for name, value in members(kind) if isinstance(value, property)
]


def text_of(value: Any) -> str:
    """The docstring, which is the object's own: a class does not show that of its base, nor what dataclass makes."""
    text = vars(value).get("__doc__") if inspect.isclass(value) else value.__doc__
    assert text, f"{value} has no docstring"
    assert not text.startswith(f"{value.__name__}("), f"{value} has no docstring"
    return inspect.cleandoc(text)


def sections(text: str) -> set[str]:
    return set(re.findall(r"^(\w+)\n-+$", text, re.MULTILINE))


def check_arguments(name: str, text: str, arguments: list[str]) -> None:
    """Raise unless a text names the arguments and the errors, or says that they are those of another function."""
    text = text.partition("\nExamples\n")[0]  # where they are used, not described
    if not re.search(r"\barguments .*as for `\w+`", text):
        for argument in arguments:
            assert re.search(rf"\b{argument}\b", text), f"{name}: {argument} is not described"
    if arguments and name not in RAISES_NOTHING:
        says = "Raises" in sections(text) or re.search(r"\berrors as for `\w+`", text)
        assert says, f"{name} does not say what it raises"


def check_example(name: str, text: str) -> None:
    """Raise unless there is an example that runs with nothing but what it imports."""
    assert "Examples" in sections(text), f"{name} has no section of examples"
    example = doctest.DocTestParser().get_doctest(text, {}, name, None, None)
    assert any(part.want for part in example.examples), f"{name} has no example that shows a result"
    assert "import gpuquant" in example.examples[0].source, f"{name}: the example does not import gpuquant first"
    told: list[str] = []
    doctest.DocTestRunner().run(example, out=told.append)
    assert not told, "".join(told)


@pytest.mark.parametrize(("name", "value"), CLASSES + FUNCTIONS, ids=[name for name, _ in CLASSES + FUNCTIONS])
def test_there_is_an_example_that_can_be_pasted(name: str, value: Any) -> None:
    check_example(name, text_of(value))


@pytest.mark.parametrize(("name", "value"), FUNCTIONS, ids=[name for name, _ in FUNCTIONS])
def test_functions_name_their_arguments_and_errors(name: str, value: Any) -> None:
    check_arguments(
        name, text_of(value), [one for one in inspect.signature(value).parameters if one not in ("self", "cls")]
    )


@pytest.mark.parametrize(("name", "kind"), CLASSES, ids=[name for name, _ in CLASSES])
def test_classes_name_their_arguments_and_errors(name: str, kind: type) -> None:
    text = text_of(kind)
    if issubclass(kind, Exception) or name in NOT_MADE_BY_USERS:
        return
    arguments = list(inspect.signature(kind).parameters)
    if "Attributes" in sections(text) and "Parameters" not in sections(text):  # a result, whose fields are described
        assert all(re.search(rf"\b{field}\b", text) for field in arguments), f"{name}: a field is not described"
    else:
        check_arguments(name, text, arguments)


@pytest.mark.parametrize(("owner", "name", "value"), PROPERTIES, ids=[f"{one}.{two}" for one, two, _ in PROPERTIES])
def test_properties_are_shown_in_the_example_of_their_class(owner: str, name: str, value: property) -> None:
    assert value.__doc__
    example = text_of(getattr(gpuquant, owner)).partition("\nExamples\n")[2]
    assert f".{name}" in example, f"{owner}.{name} is not in the example of {owner}"


def undescribed(pixels: object) -> object:
    """Do something."""
    return pixels


def test_the_checks_notice() -> None:
    with pytest.raises(AssertionError, match="pixels is not described"):
        check_arguments("undescribed", text_of(undescribed), ["pixels"])
    with pytest.raises(AssertionError, match="does not say what it raises"):
        check_arguments("undescribed", "Change pixels.", ["pixels"])
    with pytest.raises(AssertionError, match="no section of examples"):
        check_example("undescribed", text_of(undescribed))
    with pytest.raises(AssertionError, match=r"Expected:\s+4\s+Got:\s+3"):
        check_example("wrong", "Examples\n--------\n>>> import gpuquant\n>>> 1 + 2\n4")
    with pytest.raises(AssertionError, match="NameError"):
        check_example("not to be pasted", "Examples\n--------\n>>> import gpuquant\n>>> np.zeros(1)\narray([0.])")
