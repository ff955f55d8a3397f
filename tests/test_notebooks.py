"""The notebooks run from top to bottom, with small values of the constants in their first code cells."""

import importlib.util
import pathlib
import re
import types

import nbclient
import nbformat
import pytest

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
NOTEBOOKS = sorted(FOLDER.glob("*.ipynb"))
TINY = {"EPOCHS": 1, "STEPS_PER_EPOCH": 16, "NUM_ENVS": 4, "EPISODES": 2, "TRIALS": 2}
EAGERLY = """
import functools
import keras_rl_prob

def short(construct):
    @functools.wraps(construct)
    def constructed(self, network=None, **kwargs):
        construct(self, network, **{"rollout_steps": 16, **kwargs})

    return constructed

keras_rl_prob.Agent.compile = functools.partialmethod(keras_rl_prob.Agent.compile, jit_compile=False, run_eagerly=True)
for agent in (keras_rl_prob.PPO, keras_rl_prob.RecurrentPPO):
    agent.__init__ = short(agent.__init__)
"""
BUDGET = re.compile(r"^([A-Z_]+) = \d+", re.MULTILINE)


def code_cells(notebook):
    return [cell for cell in notebook.cells if cell.cell_type == "code"]


every_notebook = pytest.mark.parametrize("path", NOTEBOOKS, ids=lambda path: path.stem)
# tests/tuners runs the same searches, test_docs.py the training of docs/how-to/hybrid-actions.md.
LONG = {"tuner", "hybrid_actions"}


@pytest.fixture
def notebook(path):
    return nbformat.read(path, as_version=4)


def test_there_are_notebooks():
    assert {path.stem for path in NOTEBOOKS} >= {"quickstart", "hybrid_actions", "tuner"}


@every_notebook
def test_notebook_is_stored_without_outputs(notebook):
    nbformat.validate(notebook)
    assert notebook.cells[0].cell_type == "markdown"
    assert [cell for cell in code_cells(notebook) if cell.outputs or cell.execution_count] == []


@pytest.mark.parametrize(
    "path",
    [pytest.param(path, marks=pytest.mark.long if path.stem in LONG else ()) for path in NOTEBOOKS],
    ids=lambda path: path.stem,
)
def test_notebook_runs(notebook, tmp_path, monkeypatch):
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    budgets = code_cells(notebook)[0]
    assert {"EPOCHS"} <= set(BUDGET.findall(budgets.source)) <= set(TINY)
    budgets.source = BUDGET.sub(lambda match: f"{match[1]} = {TINY[match[1]]}", budgets.source) + EAGERLY
    nbclient.NotebookClient(notebook, timeout=300, resources={"metadata": {"path": str(tmp_path)}}).execute()
    assert all(cell.execution_count for cell in code_cells(notebook))


@pytest.fixture(scope="module")
def hook():
    spec = importlib.util.spec_from_file_location("docs_notebooks", FOLDER.parent / "docs" / "notebooks.py")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    return module


def test_a_notebook_becomes_a_page_with_its_outputs(hook):
    code = """
import sys
from IPython.display import HTML, display
print("a\\rb", "\\x1b[1mbold\\x1b[0m", flush=True)
print("next")
print("hidden", file=sys.stderr)
display(HTML("<video src='x'></video>"), HTML("<b>no video</b>"))
display({"image/png": "aGVs\\nbG8="}, raw=True)
{"return": 1.0}
"""
    cells = [nbformat.v4.new_markdown_cell("# A title\n\nWords."), nbformat.v4.new_code_cell(code.strip())]
    notebook = hook.executed(nbformat.v4.new_notebook(cells=cells))
    text = hook.page(notebook, "a.ipynb")
    assert text.startswith("# A title\n\n[Download this notebook](a.ipynb), with its outputs.\n\nWords.\n\n")
    assert f"```py\n{code.strip()}\n```" in text
    _, outputs = text.split('{"return": 1.0}\n```')
    assert outputs == (
        "\n\n```text\nb bold\nnext\n```"
        "\n\n<div><video src='x'></video></div>"
        "\n\n```text\n<IPython.core.display.HTML object>\n```"
        '\n\n<img alt="output" src="data:image/png;base64,aGVsbG8=">'
        "\n\n```text\n{'return': 1.0}\n```\n"
    )


def test_notebooks_are_executed_only_if_asked(hook, monkeypatch):
    monkeypatch.delenv("NOTEBOOKS", raising=False)
    assert hook.on_files(["a file"], None) == ["a file"]
    monkeypatch.setenv("NOTEBOOKS", "1")
    config = types.SimpleNamespace(nav=[{"Home": "index.md"}, {"Command line": "command-line.md"}])
    hook.on_config(config)
    assert [list(entry) for entry in config.nav] == [["Home"], ["Notebooks"], ["Command line"]]
    assert config.nav[1]["Notebooks"][0] == "notebooks/quickstart.md"
    assert len(config.nav[1]["Notebooks"]) == len(NOTEBOOKS)
