"""Hook of MkDocs: with `NOTEBOOKS=1` the notebooks are executed, and become pages with their outputs (`make docs`)."""

import os
import pathlib
import re
import tempfile

import nbclient
import nbformat
from mkdocs.structure.files import File

FOLDER = pathlib.Path(__file__).parent.parent / "notebooks"
MINUTES = 60  # that a cell may take


def on_config(config):
    """Adds the pages to the navigation, before the command line."""
    if wanted():
        place = next(index for index, entry in enumerate(config.nav) if "Command line" in entry)
        config.nav.insert(place, {"Notebooks": [f"notebooks/{path.stem}.md" for path in notebooks()]})


def on_files(files, config):
    """Adds the pages, and the executed notebooks to download."""
    for path in notebooks() if wanted() else ():
        notebook = executed(nbformat.read(path, as_version=4))
        files.append(File.generated(config, f"notebooks/{path.stem}.md", content=page(notebook, path.name)))
        files.append(File.generated(config, f"notebooks/{path.name}", content=nbformat.writes(notebook)))
    return files


def wanted():
    """Whether notebooks are built."""
    return bool(os.environ.get("NOTEBOOKS"))


def notebooks():
    """Their paths, the quickstart first."""
    return sorted(FOLDER.glob("*.ipynb"), key=lambda path: (path.stem != "quickstart", path.stem))


def executed(notebook):
    """Executes a notebook in an empty folder; returns it with its outputs, what is printed in one piece."""
    with tempfile.TemporaryDirectory() as folder:
        where = {"metadata": {"path": folder}}
        client = nbclient.NotebookClient(notebook, timeout=60 * MINUTES, coalesce_streams=True, resources=where)
        return client.execute()


def page(notebook, name):
    """The Markdown page of an executed notebook."""
    cells = ["".join(shown(cell)) for cell in notebook.cells]
    title, text = cells[0].split("\n", 1)
    download = f"[Download this notebook]({name}), with its outputs."
    return "\n\n".join([title, download, text.strip(), *cells[1:]]) + "\n"


def shown(cell):
    """Yields the parts of a cell: its source and its outputs, in Markdown."""
    if cell.cell_type != "code":
        yield cell.source
        return
    yield block("py", cell.source)
    for output in cell.outputs:
        data = output.get("data", {})
        if output.output_type == "stream":
            if output.name == "stdout":
                yield block("text", output.text)
        elif "image/png" in data:
            yield f'\n\n<img alt="output" src="data:image/png;base64,{"".join(data["image/png"]).replace(chr(10), "")}">'
        elif "text/html" in data and "<video" in data["text/html"]:
            yield f"\n\n<div>{data['text/html']}</div>"
        elif "text/plain" in data:
            yield block("text", data["text/plain"])


def block(language, text):
    """A block of code, without the control sequences of colours."""
    return "\n\n```{}\n{}\n```".format(language, re.sub(r"\x1b\[[\d;]*m", "", text).strip("\n"))
