"""The README's picture: samples of parents beside their children, trained by ``fusevae bench`` for the same time.

``python benchmarks/picture.py FOLDER NAME ...`` draws 8 x 8 samples of each run of a bench's folder, side by side, with
the seed that ``fusevae sample`` has by default: means of p(x | z) where there are any, else samples.
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

from common import ROOT, results, runs, smoke, start, train
from inputs import mnist

EDGE = 16  # pixels between two grids


def main(folder: str = "", *names: str) -> None:
    if smoke():
        folder, names = str(runs("picture")), ("binary-vae",)
        train(runs("picture") / names[0], names[0], mnist())
    from PIL import Image, ImageDraw

    import fusevae
    from fusevae.modalities.images import pictures

    grids: list[Any] = []
    for name in names:
        model = fusevae.load(Path(folder) / name)
        grids.append(pictures.grid(fusevae.sample(model, 64), model.data))
    width, height = sum(g.width + EDGE for g in grids) - EDGE, max(g.height for g in grids) + 14
    whole = Image.new("L", (width, height), 255)
    at = 0
    for name, grid in zip(names, grids, strict=True):
        ImageDraw.Draw(whole).text((at, 0), name, fill=0)
        whole.paste(grid.convert("L"), (at, 14))
        at += grid.width + EDGE
    whole.save((results() if smoke() else ROOT / "docs" / "images") / "families.png", optimize=True)


if __name__ == "__main__":
    start(main)
