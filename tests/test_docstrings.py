"""Examples in docstrings: `>>>` ones run, ```python blocks compile and use names that exist."""

import ast
import doctest
import importlib
import inspect
import pkgutil
import re
import textwrap

import keras
import numpy as np
import pytest
import tensorflow as tf
import tensorflow_probability as tfp

import keras_rl_prob as krp

MODULES = ["keras_rl_prob"] + [m.name for m in pkgutil.walk_packages(krp.__path__, "keras_rl_prob.")]
NAMESPACE = {"krp": krp, "keras": keras, "tf": tf, "tfd": tfp.distributions, "np": np}


def examples():
    """Doctests of everything that the modules themselves define, each only once."""
    finder = doctest.DocTestFinder()
    for name in MODULES:
        module = importlib.import_module(name)
        for test in finder.find(module, name, module, extraglobs=NAMESPACE):
            if test.examples:
                yield test


def blocks():
    """`(name, source)` of the ```python blocks in docstrings."""
    for name in MODULES:
        tree = ast.parse(inspect.getsource(importlib.import_module(name)))
        for node in ast.walk(tree):
            if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef):
                found = re.findall(r"```python\n(.*?)```", ast.get_docstring(node) or "", re.DOTALL)
                for source in found:
                    yield f"{name}.{getattr(node, 'name', '')}", textwrap.dedent(source)


EXAMPLES, BLOCKS = list(examples()), list(blocks())


def test_there_are_examples():
    assert sum(len(test.examples) for test in EXAMPLES) >= 20
    assert len(BLOCKS) >= 8
    assert {test.name.rsplit(".", 1)[-1] for test in EXAMPLES} >= {
        "Joint",
        "DenseNormal",
        "MaskVelocity",
        "ScriptedEnv",
    }


@pytest.mark.parametrize("test", EXAMPLES, ids=lambda test: test.name)
def test_examples_run_and_print_what_they_say(test):
    report = []
    runner = doctest.DocTestRunner(optionflags=doctest.ELLIPSIS)
    runner.run(test, out=report.append)
    assert runner.summarize(verbose=False).attempted == len(test.examples)
    assert not report, "".join(report)


@pytest.mark.parametrize(("name", "source"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_blocks_compile_and_use_names_that_exist(name, source):
    compile(source, name, "exec")
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Attribute):
            path = ast.unparse(node)
            if re.fullmatch(r"(krp|keras|tf)(\.\w+)+", path):
                target = NAMESPACE[path.split(".")[0]]
                for part in path.split(".")[1:]:
                    assert hasattr(target, part), f"{path} in the example of {name}"
                    target = getattr(target, part)


@pytest.mark.parametrize(("name", "source"), BLOCKS, ids=[name for name, _ in BLOCKS])
def test_blocks_pass_arguments_that_exist(name, source):
    for node in ast.walk(ast.parse(source)):
        if isinstance(node, ast.Call) and re.fullmatch(r"krp(\.\w+)+", ast.unparse(node.func)):
            target = krp
            for part in ast.unparse(node.func).split(".")[1:]:
                target = getattr(target, part)
            keywords = {keyword.arg: None for keyword in node.keywords}
            inspect.signature(target).bind(*node.args, **keywords)
