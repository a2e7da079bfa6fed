"""`hemony classify`: what is on these images?

hemony classify BUNDLE SOURCE [SOURCE ...]      files, folders, globs; - reads paths from stdin, one a line

--format table|json|jsonl|csv                   a row a file: path, label, confidence, top (or error)
--top K                                         how many labels a row names (5)
--device auto|cpu|gpu   --batch-size N
"""

import argparse
import glob
import os
import sys
from collections import deque
from collections.abc import Iterable, Iterator
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

from hemony.errors import EXIT_FINE, EXIT_INPUT, InputError, UsageError

if TYPE_CHECKING:
    from torch import Tensor

    from hemony.bundle import Bundle

Row = dict[str, Any]
Source = tuple[Path, str]  # and what is wrong with it, in a line, where that is known already


def main(arguments: list[str]) -> int:
    """The verb. 0 when every file was classified, 3 when one could not be read."""
    options = parse(arguments)
    sources = expand(options.sources, sys.stdin)
    from hemony import bundle
    from hemony.output import RowWriter

    loaded = bundle.load(Path(options.bundle))
    failed = False
    with RowWriter(options.format, ("path", "label", "confidence", "top", "error")) as writer:
        for row in classify(loaded, sources, options.device, options.batch_size, options.top):
            failed |= "error" in row
            writer.write(row)
    return EXIT_INPUT if failed else EXIT_FINE


def parse(arguments: list[str]) -> argparse.Namespace:
    parser = argparse.ArgumentParser("hemony classify", usage=__doc__, add_help=False)
    parser.error = refuse  # type: ignore[method-assign,assignment]
    parser.add_argument("bundle")
    parser.add_argument("sources", nargs="+")
    parser.add_argument("--format", default="table", choices=("table", "json", "jsonl", "csv"))
    parser.add_argument("--top", type=int, default=5)
    parser.add_argument("--device", default="auto", choices=("auto", "cpu", "gpu"))
    parser.add_argument("--batch-size", type=int, default=256)
    options = parser.parse_args(arguments)
    for name in ("top", "batch_size"):
        if getattr(options, name) < 1:
            raise UsageError(f"--{name.replace('_', '-')} {getattr(options, name)} must be at least 1")
    return options


def refuse(message: str) -> None:
    raise UsageError(f"{message}; usage: hemony classify BUNDLE SOURCE [SOURCE ...]")


def expand(sources: list[str], stdin: Iterable[str]) -> Iterator[Source]:
    """Files as they are, folders and globs opened up, `-` as the lines of `stdin`; each with what is already wrong with it, or ""."""
    from hemony import media

    for source in sources:
        if source == "-":
            yield from ((Path(line.rstrip("\n")), "") for line in stdin if line.strip())
            continue
        path = Path(os.path.expanduser(source))
        if os.path.isdir(path):
            found, _ = media.find_images(path)
            yield from ((file, "") for file in found)
            if not found:
                yield path, f"{source}: a folder without images"
        elif glob.has_magic(source) and not os.path.exists(path):
            matches = [match for match in sorted(glob.glob(str(path), recursive=True)) if not os.path.isdir(match)]
            yield from ((Path(match), "") for match in matches)
            if not matches:
                yield path, f"{source}: nothing matches"
        else:
            yield path, ""


def classify(bundle: "Bundle", sources: Iterable[Source], device: str, batch_size: int, top: int) -> Iterator[Row]:
    """A row a source, in order: path, label, confidence and top, or path and error."""
    import torch

    from hemony import hardware
    from hemony.config import Accelerator, Precision
    from hemony.inference import predict_logits
    from hemony.preprocessing import Resize

    place = hardware.pick_device(Accelerator[device])
    bf16 = hardware.use_bf16(Precision.auto, place)
    preprocessing = bundle.preprocessing
    resize = Resize(preprocessing.size_px, preprocessing.fit)
    for batch in batches(read_ahead(sources, resize, preprocessing.channels, batch_size), batch_size):
        images = [image for _, image in batch if not isinstance(image, str)]
        rows: Iterator[Row] = iter(())
        if images:
            logits = predict_logits(bundle.recogniser, [torch.stack(images)], place, bf16)
            rows = answers((logits.double() / bundle.temperature).softmax(dim=1), bundle.labels, top)
        for path, image in batch:
            yield {"path": str(path), "error": image} if isinstance(image, str) else {"path": str(path), **next(rows)}


def answers(probabilities: "Tensor", labels: list[str], top: int) -> Iterator[Row]:
    """label, confidence and top of every row of probabilities (N, classes)."""
    confidences, places = probabilities.topk(min(top, len(labels)), dim=1)
    for shares, order in zip(confidences.tolist(), places.tolist(), strict=True):
        named = [{"label": labels[place], "confidence": round(share, 6)} for share, place in zip(shares, order, strict=True)]
        yield {"label": named[0]["label"], "confidence": named[0]["confidence"], "top": named}


def read_ahead(sources: Iterable[Source], resize: Any, channels: int, batch_size: int) -> Iterator[tuple[Path, "Tensor | str"]]:
    """Each path with its resized image or the line that says why there is none.

    Decoded in threads, two batches ahead of what is asked for, so that decoding and the network overlap and memory stays bounded.
    """
    import torch

    from hemony import media

    def read(path: Path, wrong: str) -> "Tensor | str":
        if wrong:
            return wrong
        try:
            image: Tensor = resize(torch.from_numpy(media.read_image(path, channels, least_size_px=resize.size_px)))
        except InputError as error:
            return str(error)
        return image

    waiting: deque[tuple[Path, Future[Tensor | str]]] = deque()
    with ThreadPoolExecutor(os.cpu_count()) as pool:
        for path, wrong in sources:
            waiting.append((path, pool.submit(read, path, wrong)))
            if len(waiting) > 2 * batch_size:
                first, future = waiting.popleft()
                yield first, future.result()
        while waiting:
            first, future = waiting.popleft()
            yield first, future.result()


def batches(items: Iterable[Any], size: int) -> Iterator[list[Any]]:
    batch = []
    for item in items:
        batch.append(item)
        if len(batch) == size:
            yield batch
            batch = []
    if batch:
        yield batch
