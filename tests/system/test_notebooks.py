"""Every notebook runs from its first cell to its last, and shows what it promises."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nbformat
import pytest
from ipykernel.kernelspec import install
from nbclient import NotebookClient

NOTEBOOKS = sorted((Path(__file__).parents[2] / "notebooks").glob("*.ipynb"))
SECONDS = 120
KERNEL = "tested"


@pytest.fixture
def kernel(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> str:
    """A kernel on the interpreter of the tests, with a home of its own."""
    install(prefix=str(tmp_path), kernel_name=KERNEL)
    monkeypatch.setenv("JUPYTER_PATH", str(tmp_path / "share" / "jupyter"))
    monkeypatch.setenv("XDG_STATE_HOME", str(tmp_path / "state"))
    monkeypatch.setenv("IPYTHONDIR", str(tmp_path / "ipython"))
    return KERNEL


def outputs(notebook: Any) -> list[dict[str, Any]]:
    return [output for cell in notebook.cells if cell.cell_type == "code" for output in cell.outputs]


@pytest.mark.parametrize("path", NOTEBOOKS, ids=[path.stem for path in NOTEBOOKS])
def test_notebook(path: Path, kernel: str, tmp_path: Path) -> None:
    notebook = nbformat.read(path, as_version=4)
    NotebookClient(
        notebook, kernel_name=kernel, timeout=SECONDS, resources={"metadata": {"path": str(tmp_path)}}
    ).execute()
    shown = [output["data"] for output in outputs(notebook) if "data" in output]
    html = "".join(data.get("text/html", "") for data in shown)
    assert any("image/png" in data for data in shown)
    assert "xarray.Dataset" in html
    assert 'class="dataframe"' in html
    if path.stem == "live_and_archived":
        live, closed, expired, later = (data["image/png"] for data in shown if "image/png" in data)
        assert live != closed
        assert expired == closed
        assert later == closed


def test_there_are_notebooks_and_they_are_committed_without_outputs() -> None:
    assert NOTEBOOKS
    for path in NOTEBOOKS:
        assert outputs(nbformat.read(path, as_version=4)) == []
