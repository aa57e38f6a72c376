# SPDX-License-Identifier: Apache-2.0
"""Every public name of the package has a docstring that says its arguments, and types that mypy takes."""

import importlib
import inspect
import re
import subprocess
import sys

import pytest

MODULES = ["hybridhash", "hybridhash.convert", "hybridhash.torch"]


def things():
    """(name, object) of all that is public, members of classes included."""
    for module_name in MODULES:
        try:
            module = importlib.import_module(module_name)
        except ImportError:  # PyTorch isn't installed here
            continue
        names = getattr(module, "__all__", None) or [
            name for name, thing in vars(module).items()
            if not name.startswith("_") and getattr(thing, "__module__", "") == module_name and callable(thing)]
        yield module_name, module
        for name in names:
            thing = getattr(module, name)
            yield f"{module_name}.{name}", thing
            if not inspect.isclass(thing) or issubclass(thing, Exception):
                continue
            for member, value in vars(thing).items():
                if not member.startswith("_") and (callable(value) or isinstance(value, (property, classmethod, staticmethod))):
                    yield f"{module_name}.{name}.{member}", value


THINGS = [(name, thing) for name, thing in things() if name != "hybridhash.__version__"]


@pytest.mark.parametrize("name, thing", THINGS, ids=[name for name, _ in THINGS])
def test_has_a_docstring(name, thing):
    if name.endswith(".main"):
        pytest.skip("the command; its help is argparse's")
    doc = inspect.getdoc(thing.__func__ if isinstance(thing, (classmethod, staticmethod)) else thing) or ""
    # What NamedTuple and nn.Module bring themselves, and nanobind's signatures, are no documentation.
    doc = re.sub(rf"^{name.split('.')[-1]}\(.*\n*", "", doc)
    assert len(doc) > 15 and not doc.startswith(("Alias for field", "Base class")), name


@pytest.mark.parametrize("name, thing", THINGS, ids=[name for name, _ in THINGS])
def test_arguments_are_typed_and_told(name, thing):
    """Each argument has a type, and its name stands in the docstring of the function or its class."""
    function = thing.__func__ if isinstance(thing, (classmethod, staticmethod)) else thing
    function = function.fget if isinstance(function, property) else function
    if inspect.isclass(function):
        function = function.__init__
    if not inspect.isfunction(function) or name.endswith(".main"):
        pytest.skip("not a function of Python")
    signature = inspect.signature(function)
    assert signature.return_annotation is not inspect.Signature.empty or function.__name__ == "__init__", name
    doc = inspect.getdoc(function if function.__name__ != "__init__" else thing) or ""
    for argument in [p for p in signature.parameters.values() if p.name not in ("self", "cls")]:
        assert argument.annotation is not inspect.Parameter.empty, f"{name}: {argument.name}"
        if argument.kind in (argument.VAR_KEYWORD, argument.VAR_POSITIONAL):
            continue
        assert re.search(rf"\b{argument.name}\b", doc), f"{name} doesn't say what {argument.name} is"


RIGHT = """
import hybridhash, numpy as np
model = hybridhash.Model("a.safetensors", threads=2)
encoded = model.encode(np.zeros((1, 4, 4, 3), np.uint8))
index = hybridhash.Index.build("i", model.encode_folder("photos"), overwrite=True)
ids: np.ndarray = index.search(encoded.codes, k=5).ids
names = index.items(ids[0]).names
hits = index.query(encoded, radius=3, filters=["a=b"])
for found, distances in hits:
    print(found.shape, distances.shape, names, hybridhash.threads() + 1)
"""
WRONG = ['hybridhash.Model(3)', 'hybridhash.Model("a", threads="2")', 'hybridhash.set_threads("2")',
         'hybridhash.Model("a").encode_folder("photos", outputs=True)', 'hybridhash.Index("i").search(None, k="5")', 'hybridhash.Index("i").nothing()', 'hybridhash.nothing']


def test_mypy(tmp_path):
    """The package's types by mypy: right uses pass, each wrong one doesn't."""
    pytest.importorskip("mypy")
    text = RIGHT + "".join(f"{line}\n" for line in WRONG)
    (tmp_path / "use.py").write_text(text)
    command = [sys.executable, "-m", "mypy", "--strict", "--no-incremental", "--follow-imports=silent", "use.py"]
    said = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True).stdout
    lines = {int(line.split(":")[1]) for line in said.splitlines() if re.match(r"use\.py:\d+: error", line)}
    first = RIGHT.count("\n") + 1
    assert lines == set(range(first, first + len(WRONG))), said
