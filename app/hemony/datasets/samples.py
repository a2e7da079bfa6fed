"""Held-out images of a bundle as PNG files, to try `hemony classify` on: `python -m hemony.datasets.samples BUNDLE FOLDER`."""

import sys
from pathlib import Path

import numpy as np
from PIL import Image

from hemony import bundle, compose, config
from hemony.datasets import images


def write_samples(source: Path, folder: Path, count: int = 8) -> list[Path]:
    """`count` test images of the data that the bundle at `source` records, named LABEL-NUMBER.png, evenly from all."""
    facts = bundle.read_facts(source)
    settings = compose.typed(config.EvaluateConfig, {"data": facts["data"]})
    collection = images.find(settings.data)
    test = np.flatnonzero(np.isin(collection.digests, bundle.decode_digests(facts["split"]["test"])))
    chosen = test[np.linspace(0, len(test) - 1, count).astype(int)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in chosen.tolist():
        pixels = collection.read(index, facts["preprocessing"]["channels"], None)
        label = collection.class_names[collection.labels[index]]
        path = folder / f"{label}-{index:05d}.png"
        Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels).save(path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_samples(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"wrote {written}", file=sys.stderr)
