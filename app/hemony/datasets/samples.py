"""Held-out examples of a bundle as files, to try `hemony classify` on: `python -m hemony.datasets.samples BUNDLE FOLDER`."""

import sys
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image

from hemony import bundle, compose, config, domains
from hemony.datasets.collection import AudioCollection, ImageCollection
from hemony.facts import read_facts


def write_samples(source: Path, folder: Path, count: int = 8) -> list[Path]:
    """`count` test examples of the data that the bundle at `source` records, LABEL-NUMBER.png or .wav, evenly from all."""
    facts = read_facts(source)
    settings = compose.typed(config.EvaluateConfig, {"data": facts["data"]})
    collection = domains.find(settings.data)
    test = np.flatnonzero(np.isin(collection.digests, bundle.decode_digests(facts["split"]["test"])))
    chosen = test[np.linspace(0, len(test) - 1, count).astype(int)]
    folder.mkdir(parents=True, exist_ok=True)
    paths = []
    for index in chosen.tolist():
        name = f"{collection.class_names[collection.labels[index]]}-{index:05d}"
        if isinstance(collection, AudioCollection):
            path = folder / f"{name}.wav"
            rate_hz = facts["preprocessing"]["sample_rate_hz"]
            soundfile.write(path, collection.read(index, rate_hz), rate_hz)
        else:
            assert isinstance(collection, ImageCollection)
            path = folder / f"{name}.png"
            pixels = collection.read(index, facts["preprocessing"]["channels"], None)
            Image.fromarray(pixels.squeeze(axis=2) if pixels.shape[2] == 1 else pixels).save(path)
        paths.append(path)
    return paths


if __name__ == "__main__":
    for written in write_samples(Path(sys.argv[1]), Path(sys.argv[2])):
        print(f"wrote {written}", file=sys.stderr)
