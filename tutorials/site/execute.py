"""Execute the tutorials: `python tutorials/site/execute.py [page.py ...]`; without pages, all of them.

Each script becomes the notebook beside it, with its outputs. Its thumbnail, in `tutorials/thumbnails`, is the picture of the cell with the
tag `thumbnail`. CI runs the notebooks again and compares the outputs: `pytest --nbval`.
"""

import base64
import io
import sys
from pathlib import Path

import jupytext
import nbclient
import nbformat
from PIL import Image

TUTORIALS = Path(__file__).parent.parent
THUMBNAILS = TUTORIALS / "thumbnails"
LARGEST = 120_000  # bytes of a picture
MOST_WIDE, LEAST_WIDE = 1000, 700  # pixels of a picture
THUMBNAIL = 360  # pixels


def execute(page: Path) -> None:
    """Write the notebook of a page, with outputs, and its thumbnail."""
    notebook = jupytext.read(page)
    options = {"kernel_name": "python3", "timeout": 600, "record_timing": False, "coalesce_streams": True}
    nbclient.NotebookClient(notebook, **options).execute(cwd=str(page.parent))
    notebook.metadata = {"kernelspec": {"name": "python3", "display_name": "Python 3"}, "language_info": {"name": "python"}}
    for number, cell in enumerate(notebook.cells):
        cell.id = f"cell-{number}"  # a fresh one would be random
        for output in cell.get("outputs", []):
            if "image/png" in output.get("data", {}):
                picture = Image.open(io.BytesIO(base64.b64decode(output.data["image/png"]))).convert("RGB")
                output.data["image/png"] = base64.b64encode(compress(picture)).decode()
                if "thumbnail" in cell.metadata.get("tags", []):
                    picture.thumbnail((THUMBNAIL, THUMBNAIL))
                    (THUMBNAILS / f"{page.stem}.png").write_bytes(compress(picture))
    nbformat.write(notebook, page.with_suffix(".ipynb"))


def compress(picture: Image.Image) -> bytes:
    """PNG of at most `LARGEST` bytes: first smaller, then with fewer colours."""
    for n_colours in (256, 64, 32):
        for width in range(min(picture.width, MOST_WIDE), min(picture.width, LEAST_WIDE) - 1, -100):
            file = io.BytesIO()
            smaller = picture.resize((width, round(picture.height * width / picture.width)), Image.Resampling.LANCZOS)
            smaller.quantize(n_colours, kmeans=1, dither=Image.Dither.NONE).save(file, "PNG", optimize=True)
            if file.tell() <= LARGEST:
                return file.getvalue()
    raise ValueError(f"Expected a figure of at most {LARGEST} bytes, got {file.tell()}. Draw fewer photos.")


if __name__ == "__main__":
    THUMBNAILS.mkdir(exist_ok=True)
    for name in sys.argv[1:] or sorted(TUTORIALS.glob("0*.py")):
        print(name)
        execute(Path(name).resolve())
