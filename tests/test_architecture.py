"""The structure of the package, read from its source: imports go downward, files and functions stay small."""

import ast
import pathlib
import re
import sys

import pytest

import keras_rl_prob

ROOT = pathlib.Path(keras_rl_prob.__file__).parent
LEVELS = (
    {"catalog", "types"},
    {"keras_internals", "python_calls", "settings", "spaces", "trajectory", "version"},
    {"checks", "usage"},
    {"border", "masks", "startup"},
    {"ops", "envs", "replay"},
    {"distributions", "drivers"},
    {"layers"},
    {"networks"},
    {"learning"},
    {"deployment", "sources"},
    {"agents"},
    {"callbacks", "imitation", "presets", "tuners", "distributed"},
    {"cli", "testing"},
    {"__main__"},
)
LEVEL_OF = {name: level for level, names in enumerate(LEVELS) for name in names}
REQUIRED = {"gymnasium", "h5py", "keras", "numpy", "tensorflow", "tensorflow_probability"}
OPTIONAL = {
    "IPython", "PIL", "ale_py", "envpool", "gfootball", "keras_tuner", "matplotlib", "minari", "moviepy", "onnx", "onnxruntime",
    "ray", "sklearn", "tensorboard", "tf2onnx", "torch",
}  # fmt: skip
FILES = sorted(ROOT.rglob("*.py"))
PACKAGES = [path for path in FILES if path.name == "__init__.py"]


def module_name(path):
    parts = (ROOT.name, *path.relative_to(ROOT).with_suffix("").parts)
    return ".".join(parts[:-1] if parts[-1] == "__init__" else parts)


NAMES = {module_name(path) for path in FILES}


def imports(tree):
    """Full names of the modules that a syntax tree imports, wherever in it; `from a import b` is `a.b` for a module."""
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"relative import in line {node.lineno}"
            for alias in node.names:
                full = f"{node.module}.{alias.name}"
                yield full if full in NAMES else node.module


def violations(module, imported):
    """Violations of the rules by a module of this package that imports these others."""
    if module == ROOT.name:
        return [name for name in imported if name.split(".")[1:2] == ["cli"]]
    part = module.split(".")[1]
    wrong = []
    for name in imported:
        if name.split(".")[0] != ROOT.name:
            continue
        other = (name.split(".") + [""])[1]
        if other and other != part and LEVEL_OF[other] >= LEVEL_OF[part]:
            wrong.append(name)
        if not other and part != "cli":  # programs, like users, use the public API
            wrong.append(name)
    return wrong


def parse(path):
    return ast.parse(path.read_text(encoding="utf-8"), str(path))


each_file = pytest.mark.parametrize("path", FILES, ids=module_name)


AGENTS = [path for path in FILES if ROOT / "agents" in path.parents and path != ROOT / "agents" / "__init__.py"]
FAMILIES = {path.parent.name for path in AGENTS} - {"agents"}


@pytest.mark.parametrize("path", AGENTS, ids=module_name)
def test_families_of_agents_know_only_what_all_share(path):
    known = {name.split(".")[2] for name in imports(parse(path)) if name.startswith("keras_rl_prob.agents.")}
    assert known & FAMILIES <= {path.parent.name}


def test_all_parts_have_a_level():
    parts = {name.split(".")[1] for name in NAMES if "." in name}
    assert parts <= set(LEVEL_OF)
    assert {"agents", "envs", "layers", "networks", "ops"} <= parts  # the sources were found


def test_the_map_shows_every_part_at_its_level():
    rows = re.findall(r"^\| (\d+) \| `(\w+)` \| .+ \|$", (ROOT.parent / "ARCHITECTURE.md").read_text(), re.MULTILINE)
    parts = {name.split(".")[1] for name in NAMES if "." in name}
    assert sorted(rows, key=lambda row: int(row[0])) == rows
    assert sorted(name for _, name in rows) == sorted(parts)  # each once
    assert {name: int(level) for level, name in rows} == {name: LEVEL_OF[name] for name in parts}


@pytest.mark.parametrize(
    "page", ["ARCHITECTURE.md", "docs/contributing.md", "docs/design.md", "docs/how-to/own-algorithm.md"]
)
def test_files_that_pages_name_are_there(page):
    named = re.findall(r"`((?!tf/|krp/)(?:[\w.]+/)+[\w.]*)`", (ROOT.parent / page).read_text())
    assert len(named) >= 3
    assert [path for path in named if not ((ROOT / path).exists() or (ROOT.parent / path).exists())] == []


@each_file
def test_imports_go_downward(path):
    assert not violations(module_name(path), imports(parse(path)))


@pytest.mark.parametrize(
    ("module", "source", "wrong"),
    [
        ("keras_rl_prob.ops.returns", "import keras_rl_prob.spaces", []),
        ("keras_rl_prob.ops.returns", "from keras_rl_prob.ops import losses", []),
        ("keras_rl_prob.ops.returns", "from keras_rl_prob import envs", ["keras_rl_prob.envs"]),
        (
            "keras_rl_prob.ops.returns",
            "def f():\n import keras_rl_prob.agents.policy_gradient.ppo",
            ["keras_rl_prob.agents.policy_gradient.ppo"],
        ),
        ("keras_rl_prob.layers.head", "from keras_rl_prob.networks import heads", ["keras_rl_prob.networks.heads"]),
        ("keras_rl_prob.callbacks.a", "from keras_rl_prob.tuners import b", ["keras_rl_prob.tuners"]),
        ("keras_rl_prob.agents.policy_gradient.ppo", "import keras_rl_prob as krp", ["keras_rl_prob"]),
        ("keras_rl_prob.cli.demo", "import keras_rl_prob as krp", []),
        ("keras_rl_prob", "import keras_rl_prob.cli, keras_rl_prob.layers", ["keras_rl_prob.cli"]),
    ],
)
def test_the_rule_for_imports_itself(module, source, wrong):
    assert violations(module, list(imports(ast.parse(source)))) == wrong


@each_file
def test_only_known_libraries_are_imported(path):
    libraries = {name.split(".")[0] for name in imports(parse(path))} - set(sys.stdlib_module_names) - {ROOT.name}
    assert libraries <= REQUIRED | OPTIONAL


@pytest.mark.parametrize("path", sorted((ROOT / "ops").glob("*.py")), ids=module_name)
def test_ops_know_nothing_but_tensors(path):
    libraries = {name.split(".")[0] for name in imports(parse(path))} - set(sys.stdlib_module_names) - {ROOT.name}
    assert libraries <= {"tensorflow", "tensorflow_probability"}


def test_optional_libraries_are_imported_in_one_module_each_and_only_when_used():
    importers = {}
    for path in FILES:
        tree = parse(path)
        for name in set(imports(tree)):
            importers.setdefault(name.split(".")[0], set()).add(module_name(path))
        at_import = [node for node in tree.body if isinstance(node, ast.Import | ast.ImportFrom | ast.If | ast.Try)]
        early = {name.split(".")[0] for name in imports(ast.Module(at_import, []))}
        assert not early & OPTIONAL, path
    for library in OPTIONAL:
        assert len(importers.get(library, ())) <= 1, (library, importers[library])
    assert importers["matplotlib"] == {"keras_rl_prob.callbacks.plots.plot_learning_curves"}
    assert importers["PIL"] == {"keras_rl_prob.callbacks.episodes.record_episode"}


@pytest.mark.parametrize("path", PACKAGES, ids=module_name)
def test_all_lists_what_the_package_imports(path):
    tree = parse(path)
    names, listed = set(), set()
    for node in tree.body:
        if isinstance(node, ast.ImportFrom) and node.module.split(".")[0] == ROOT.name:
            names |= {alias.asname or alias.name for alias in node.names}
        if isinstance(node, ast.Assign) and node.targets[0].id == "__all__":
            listed = ast.literal_eval(node.value)
            assert len(set(listed)) == len(listed)
    assert set(listed) == names


def test_every_package_has_an_init():
    folders = {path.parent for path in FILES}
    assert folders == {path.parent for path in PACKAGES}


@each_file
def test_files_are_short(path):
    assert len(path.read_text(encoding="utf-8").splitlines()) <= 400


def private_names(tree):
    """Names with one underscore that a syntax tree defines or assigns, and those that it reads of other objects."""
    own, read = set(), set()
    for node in ast.walk(tree):
        if isinstance(node, ast.FunctionDef | ast.ClassDef):
            own.add(node.name)
        if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store):
            own.add(node.id)
        if isinstance(node, ast.Attribute):
            (read if isinstance(node.ctx, ast.Load) else own).add(node.attr)
    return own, {name for name in read if name.startswith("_") and not name.startswith("__")}


OURS = set().union(*(private_names(parse(path))[0] for path in FILES))
OTHERS = {
    "_asdict",
    "_replace",
    "_max_episode_steps",
}  # of named tuples; of Gymnasium's `TimeLimit`, whose limit has no public attribute


@each_file
def test_private_parts_of_keras_are_used_in_one_module(path):
    foreign = private_names(parse(path))[1] - OURS - OTHERS
    if path.name == "keras_internals.py":
        assert foreign >= {"_flatten_layers", "_keras_history", "_inbound_nodes"}
    elif path.parent.name != "processes":  # Gymnasium's workers have no public API for it
        assert not foreign


@pytest.mark.parametrize("package", PACKAGES, ids=module_name)
def test_packages_are_small(package):
    modules = [path for path in package.parent.glob("*.py") if path != package]
    assert len(modules) <= 12
    assert sum(len(path.read_text(encoding="utf-8").splitlines()) for path in [package, *modules]) <= 1800


def body_lines(function):
    """Lines of a function from its first statement after the docstring to its end."""
    body = function.body[1:] if ast.get_docstring(function) is not None else function.body
    return function.end_lineno - body[0].lineno + 1 if body else 0


@each_file
def test_functions_are_short(path):
    functions = [node for node in ast.walk(parse(path)) if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef)]
    assert {f.name: body_lines(f) for f in functions if body_lines(f) > 60} == {}


def public_functions(body, methods=False):
    """Pairs of a function or method that is no part of a private class, and its arguments but `self` and `cls`."""
    for node in body:
        private = getattr(node, "name", "").startswith("_") and not getattr(node, "name", "").endswith("__")
        if isinstance(node, ast.ClassDef) and not private:
            yield from public_functions(node.body, methods=True)
        elif isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef) and not private:
            taken = [*node.args.posonlyargs, *node.args.args]
            is_bound = methods and "staticmethod" not in map(ast.unparse, node.decorator_list)
            rest = [*node.args.kwonlyargs, *filter(None, (node.args.vararg, node.args.kwarg))]
            yield node, taken[is_bound:] + rest
        elif isinstance(node, ast.If | ast.Try | ast.With):
            yield from public_functions(node.body, methods)


def lacking(tree):
    """What lacks a type: a dict from functions to names of their arguments, and `return`."""
    found = {}
    for function, arguments in public_functions(tree.body):
        names = [argument.arg for argument in arguments if argument.annotation is None]
        if names or function.returns is None:
            found[function.name] = names + ["return"] * (function.returns is None)
    return found


@each_file
def test_public_signatures_have_types(path):
    assert lacking(parse(path)) == {}


@pytest.mark.parametrize(
    ("source", "found"),
    [
        ("def f(x: int, *args: int, y: str = '', **more: int) -> None: pass", {}),
        ("def f(x, *args, y=1, **more): pass", {"f": ["x", "y", "args", "more", "return"]}),
        ("def _f(x): pass", {}),
        ("class _C:\n def f(self): pass", {}),
        ("class C:\n def __init__(self, x): pass", {"__init__": ["x", "return"]}),
        ("class C:\n def f(self) -> None: pass\n @staticmethod\n def g(x) -> None: pass", {"g": ["x"]}),
        ("def f(self) -> None: pass", {"f": ["self"]}),
    ],
)
def test_the_rule_for_signatures_itself(source, found):
    assert lacking(ast.parse(source)) == found


@each_file
def test_nothing_forbidden(path):
    for node in ast.walk(parse(path)):
        assert not isinstance(node, ast.Assert), f"assert in line {node.lineno}"
        if isinstance(node, ast.Call):
            called = ast.unparse(node.func)
            assert called not in {"eval", "exec", "yaml.load", "print"} or (called == "print" and "cli" in path.parts)
    assert not {name.split(".")[0] for name in imports(parse(path))} & {"pickle", "cloudpickle", "dill", "marshal"}
