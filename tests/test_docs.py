"""The documentation: the site builds without a warning, its code runs as written, and the reference has every public name."""

import ast
import contextlib
import functools
import importlib.util
import inspect
import operator
import os
import pathlib
import re
import subprocess
import sys
import textwrap
import types

import gymnasium
import gymnasium.utils.play  # which a page names
import keras
import keras_tuner
import pytest
from gymnasium.envs.registration import EnvSpec

import keras_rl_prob as krp

ROOT = pathlib.Path(__file__).parent.parent
DOCS = ROOT / "docs"
PAGES = [ROOT / "README.md", *sorted(path for path in DOCS.rglob("*.md") if path.parent.name != "reference")]
CODE = re.compile(r"^( *)```python[^\n]*\n(.*?)^\1```$", re.DOTALL | re.MULTILINE)
PACKAGES = sorted(
    {path.parent.name for path in (ROOT / "keras_rl_prob").glob("*/__init__.py")} - {"cli", "usage", "catalog"}
)


@pytest.fixture(scope="module")
def site(tmp_path_factory):
    folder = tmp_path_factory.mktemp("site")
    command = [sys.executable, "-m", "mkdocs", "build", "--strict", "--site-dir", folder]
    environment = os.environ | {"NO_MKDOCS_2_WARNING": "1"}
    run = subprocess.run(command, capture_output=True, text=True, timeout=300, cwd=ROOT, check=False, env=environment)
    assert run.returncode == 0, run.stdout + run.stderr
    return {path.relative_to(folder): path.read_text() for path in folder.rglob("*.html")}


@pytest.fixture(scope="module")
def anchors(site):
    return {anchor for text in site.values() for anchor in re.findall(r'id="([\w.]+)"', text)}


def test_every_page_is_built(site):
    written = {path.relative_to(DOCS).with_suffix(".html") for path in DOCS.rglob("*.md")}
    assert set(site) == written | {pathlib.Path("404.html")}
    assert len(site) > 30


def test_pages_load_nothing_from_elsewhere(site):
    for page, text in site.items():
        loaded = re.findall(r'<(?:script|img|iframe)\b[^>]* src="([^"]+)|<link\b[^>]* href="([^"]+)', text)
        assert loaded, page
        assert not [address for pair in loaded for address in pair if "//" in address], page


def test_examples_of_docstrings_are_code(site):
    pages = [text for page, text in site.items() if page.parent.name == "reference"]
    assert not [text for text in pages if "<blockquote>" in text or "<p>Example:" in text]
    assert sum(text.count("&gt;&gt;&gt;") for text in pages) > 20


@pytest.mark.parametrize("package", PACKAGES)
def test_the_reference_has_every_public_name(anchors, package):
    names = getattr(importlib.import_module(f"keras_rl_prob.{package}"), "__all__", ())
    assert {f"keras_rl_prob.{package}.{name}" for name in names} <= anchors


def test_the_reference_has_the_names_at_the_top(anchors):
    networks = {name for name, _ in inspect.getmembers(krp.networks, inspect.isfunction)}
    assert {"feed_forward", "recurrent"} <= networks
    assert {f"keras_rl_prob.networks.{name}" for name in networks} <= anchors
    classes = {name for name in krp.__all__ if inspect.isclass(getattr(krp, name))}
    assert {"PPO", "Agent"} <= classes <= set(importlib.import_module("keras_rl_prob.agents").__all__)


def test_code_compiles_and_uses_names_that_exist():
    names = set()
    for page in PAGES:
        for _, code in CODE.findall(page.read_text()):
            compile(textwrap.dedent(code), page, "exec")
            names |= {(page.name, name) for name in re.findall(r"\bkrp((?:\.[a-zA-Z]\w*)+)", code)}
    assert len(names) > 100
    for page, name in names:
        assert operator.attrgetter(name[1:])(krp), (page, name)


def inline_expressions():
    """Yields `(page, code, syntax tree)` of what stands in sentences and tables and is a Python expression."""
    for page in PAGES:
        text = re.sub(r"```.*?```", "", page.read_text(), flags=re.DOTALL)
        for code in re.findall(r"`([^`\n]+)`", text):
            with contextlib.suppress(SyntaxError):
                yield page.name, code, ast.parse(code)


def keywords_of(function):
    """Names of the arguments of a function, or of a class and those from which it inherits."""
    places = [kind.__init__ for kind in function.__mro__] if inspect.isclass(function) else [function]
    return {name for place in places for name in inspect.signature(place).parameters}


def test_names_and_arguments_in_sentences_and_tables_exist():
    roots, calls = types.SimpleNamespace(krp=krp, keras=keras, gymnasium=gymnasium), 0
    for page, code, tree in inline_expressions():
        for node in ast.walk(tree):
            call = isinstance(node, ast.Call)
            name = ast.unparse(node.func if call else node)
            if not re.fullmatch(r"(krp|keras|gymnasium)(\.\w+)+", name):
                continue
            named = operator.attrgetter(name)(roots)
            if call and named is not krp.envs.spec:
                wrong = {x.arg for x in node.keywords} - keywords_of(named) - {None}
                assert not wrong or (page, code) == ("coming-from.md", "krp.PPO(n_steps=128)"), (page, code)
                calls += 1
    assert calls > 100


@pytest.fixture(scope="module")
def small_budgets(make_plain_matrices):
    """Training for one epoch of one short rollout and few updates, evaluations of two episodes, searches of one trial.

    All in eager mode, which takes less time than building graphs, and keeps nothing in memory.
    """
    fit, compile_, source, oracle = (
        krp.Agent.fit,
        krp.Agent.compile,
        krp.Agent.evaluation,
        keras_tuner.Oracle.__init__,
    )

    def changed(function, change):
        @functools.wraps(function)
        def wrapper(*args, **kwargs):
            call = inspect.signature(function).bind(*args, **kwargs)
            call.apply_defaults()
            change(call.arguments)
            return function(*call.args, **call.kwargs)

        return wrapper

    def short_training(given):
        agent, env = given["self"], given["env"]
        if agent.rollout_steps > 16:
            agent.rollout_steps = getattr(getattr(agent, "dealing", None), "sequence_length", None) or 8
        for name, most in {"minibatches": 1, "update_epochs": 1, "updates": 1, "capacity": 2000}.items():
            if isinstance(getattr(agent, name, None), int):
                setattr(agent, name, min(getattr(agent, name), most))
        if isinstance(env, str | EnvSpec):
            given["num_envs"] = min(given["num_envs"] or 4, 4)
        made = 1 if isinstance(env, gymnasium.Env) else getattr(env, "num_envs", 32)
        given["env_steps"] = None
        given["steps_per_epoch"] = agent.updates_per_rollout(given["num_envs"] or made)
        given["epochs"] = min(given["epochs"], given["initial_epoch"] + 1)

    with pytest.MonkeyPatch.context() as patch:
        make_plain_matrices(patch)
        patch.setattr(krp.Agent, "fit", changed(fit, short_training))
        patch.setattr(
            krp.Agent, "compile", changed(compile_, lambda given: given.update(jit_compile=False, run_eagerly=True))
        )
        patch.setattr(
            krp.Agent,
            "evaluation",
            changed(source, lambda given: given.update(episodes=min(given["episodes"], 2))),
        )
        patch.setattr(
            keras_tuner.Oracle,
            "__init__",
            changed(oracle, lambda given: given.update(max_trials=1)),
        )
        yield


def test_there_are_pages_with_code():
    assert sum(len(CODE.findall(page.read_text())) for page in PAGES) > 60


# tests/tuners, envs, callbacks, replay and agents test the same; the test above looks up their names.
LONG = {DOCS / "how-to" / f"{name}.md" for name in ("tuning", "environments", "callbacks", "replay", "choose-an-agent")}


@pytest.mark.parametrize(
    "page",
    [pytest.param(page, marks=pytest.mark.long if page in LONG else ()) for page in PAGES],
    ids=lambda page: str(page.relative_to(ROOT)),
)
@pytest.mark.usefixtures("small_budgets")
def test_code_runs(page, tmp_path, monkeypatch):
    if page.stem == "football" and importlib.util.find_spec("gfootball_engine") is None:
        pytest.skip("the game is not installed: make gfootball")
    monkeypatch.chdir(tmp_path)
    text, printed = page.read_text(), {}

    def note(*values):
        printed.setdefault(inspect.currentframe().f_back.f_lineno, []).append(" ".join(map(str, values)))

    namespace = {"__name__": page.stem, "print": note}
    for match in CODE.finditer(text):
        above = text[: match.start(2)].count("\n")  # so that a traceback shows the line in the page
        exec(compile("\n" * above + textwrap.dedent(match[2]), page, "exec"), namespace)  # noqa: S102 (our own pages)
    for number, outputs in printed.items():
        said = re.search(r"\)  # (?!such as|about|the same)(.+)", text.splitlines()[number - 1])
        for output in outputs if said else ():
            assert said[1].startswith(output), f"{page.name}:{number} prints {output}, the comment says {said[1]}"
