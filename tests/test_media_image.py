"""Hostile and odd images: each is decoded right, or refused with one line; nothing hangs and memory stays bounded."""

import io
import os
import random
import struct
import subprocess
import sys
import zipfile
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from hemony.errors import InputError
from hemony.media import image as media
from tests.conftest import refused_in_one_line

RED, GREEN, BLUE = (255, 0, 0), (0, 255, 0), (0, 0, 255)


def quadrants(size: int = 16) -> np.ndarray:
    """Red, green, blue and white quarters: any turn or mirroring of it can be told."""
    pixels = np.full((size, size, 3), 255, dtype=np.uint8)
    half = size // 2
    pixels[:half, :half], pixels[:half, half:], pixels[half:, :half] = RED, GREEN, BLUE
    return pixels


def encoded(image: Image.Image, form: str, **options: object) -> bytes:
    content = io.BytesIO()
    image.save(content, form, **options)
    return content.getvalue()


def picture(form: str, size: int = 16, **options: object) -> bytes:
    return encoded(Image.fromarray(quadrants(size)), form, **options)


def noise(form: str, **options: object) -> bytes:
    return encoded(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), dtype=np.uint8)), form, **options)


def chunk(kind: bytes, body: bytes) -> bytes:
    return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))


def png(width: int, height: int, rows: bytes, *extra: bytes, depth: int = 8, colour: int = 2) -> bytes:
    header = struct.pack(">IIBBBBB", width, height, depth, colour, 0, 0, 0)
    parts = [chunk(b"IHDR", header), *extra, chunk(b"IDAT", zlib.compress(rows)), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def sixteen_bit_rgb_png() -> bytes:
    row = b"\0" + struct.pack(">HHH", 65535, 32896, 0) * 2
    return png(2, 2, row * 2, depth=16)


def tiff_header(width: int, height: int, strips: int = 1, next_directory: int = 0) -> bytes:
    tags = [(256, 4, 1, width), (257, 4, 1, height), (258, 3, 1, 8), (259, 3, 1, 1), (262, 3, 1, 1), (273, 4, strips, 200), (277, 3, 1, 1), (278, 4, 1, height), (279, 4, 1, 16)]  # fmt: skip
    body = struct.pack("<H", len(tags)) + b"".join(struct.pack("<HHII", *tag) for tag in tags) + struct.pack("<I", next_directory)
    return b"II*\0" + struct.pack("<I", 8) + body + bytes(300)


def lying_gif() -> bytes:
    """A frame that lies outside the canvas that the header names."""
    content = bytearray(encoded(Image.fromarray(quadrants()).convert("P"), "GIF"))
    place = content.index(b"\x2c", 13 + 3 * 2 ** ((content[10] & 7) + 1))
    content[place + 5 : place + 9] = struct.pack("<HH", 40_000, 40_000)
    return bytes(content)


def zipped() -> bytes:
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w") as archive:
        archive.writestr("a.txt", "a")
    return content.getvalue()


def text_bomb() -> bytes:
    bomb = chunk(b"zTXt", b"k\0\0" + zlib.compress(bytes(200 * 2**20), 9))
    return png(2, 2, (b"\0" + bytes(6)) * 2, bomb)


def interlaced_png() -> bytes:
    """The quadrants in the seven passes of Adam7."""
    passes = [(0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)]
    rows = [b"\0" + line.tobytes() for top, left, down, across in passes for line in quadrants()[top::down, left::across]]
    header = struct.pack(">IIBBBBB", 16, 16, 8, 2, 0, 0, 1)
    parts = [chunk(b"IHDR", header), chunk(b"IDAT", zlib.compress(b"".join(rows))), chunk(b"IEND", b"")]
    return b"\x89PNG\r\n\x1a\n" + b"".join(parts)


def oriented(value: int, form: str) -> bytes:
    """The quadrants, twice as wide as high, stored turned or mirrored, with the orientation that undoes it."""
    exif = Image.Exif()
    exif[media.ORIENTATION_TAG] = value
    upright = quadrants().repeat(2, axis=1)
    undo = {1: lambda a: a, 2: lambda a: a[:, ::-1], 3: lambda a: a[::-1, ::-1], 4: lambda a: a[::-1], 5: lambda a: a.swapaxes(0, 1), 6: lambda a: np.rot90(a, 1), 7: lambda a: a[::-1, ::-1].swapaxes(0, 1), 8: lambda a: np.rot90(a, -1)}[value]  # fmt: skip
    lossless = {"lossless": True} if form == "WEBP" else {}
    return encoded(Image.fromarray(np.ascontiguousarray(undo(upright))), form, exif=exif, **lossless)


def animated(form: str) -> bytes:
    frames = [Image.new("RGB", (8, 8), colour) for colour in (RED, GREEN, BLUE)]
    return encoded(frames[0], form, save_all=True, append_images=frames[1:], **({"lossless": True} if form == "WEBP" else {}))


def transparent_palette() -> bytes:
    image = Image.fromarray(quadrants()).quantize(4)
    corner = image.getpixel((0, 0))
    return encoded(image, "PNG", transparency=corner)


def floats() -> bytes:
    values = np.zeros((4, 4), dtype=np.float32)
    values[0] = (np.nan, np.inf, -np.inf, 2.0)
    return encoded(Image.fromarray(values), "TIFF")


def cut(form: str, share: float) -> bytes:
    whole = noise(form)
    return whole[: int(len(whole) * share)]


def colour_at(row: int, column: int, colour: tuple[int, int, int], tolerance: int = 6) -> Callable[[np.ndarray], bool]:
    return lambda pixels: bool(np.abs(pixels[row, column].astype(int) - colour).max() <= tolerance)


IS_QUADRANTS = [colour_at(0, 0, RED), colour_at(0, -1, GREEN), colour_at(-1, 0, BLUE), colour_at(-1, -1, (255, 255, 255))]
SHAPE_16 = [lambda pixels: pixels.shape == (16, 16, 3)]

READ: dict[str, tuple[Callable[[], bytes], list[Callable[[np.ndarray], bool]]]] = {
    "png": (lambda: picture("PNG"), IS_QUADRANTS + SHAPE_16),
    "interlaced png": (interlaced_png, IS_QUADRANTS),
    "bmp": (lambda: picture("BMP"), IS_QUADRANTS),
    "ppm": (lambda: picture("PPM"), IS_QUADRANTS),
    "tga": (lambda: picture("TGA"), IS_QUADRANTS),
    "webp": (lambda: picture("WEBP", lossless=True), IS_QUADRANTS),
    "progressive jpeg": (lambda: picture("JPEG", size=64, progressive=True, quality=95, subsampling=0), IS_QUADRANTS),
    "lzw tiff": (lambda: picture("TIFF", compression="tiff_lzw"), IS_QUADRANTS),
    "first page of a tiff": (lambda: animated("TIFF"), [colour_at(0, 0, RED)]),
    "first frame of a gif": (lambda: animated("GIF"), [colour_at(0, 0, RED)]),
    "first frame of an apng": (lambda: animated("PNG"), [colour_at(0, 0, RED)]),
    "first frame of a webp": (lambda: animated("WEBP"), [colour_at(0, 0, RED)]),
    **{f"exif orientation {value}, {form}": (lambda value=value, form=form: oriented(value, form), IS_QUADRANTS) for value in range(1, 9) for form in ("PNG", "TIFF", "WEBP")},
    "one pixel": (lambda: png(1, 1, b"\0\0\xff\0"), [colour_at(0, 0, GREEN), lambda pixels: pixels.shape == (1, 1, 3)]),
    "a strip of 1 x 3000": (lambda: encoded(Image.new("RGB", (3000, 1), RED), "PNG"), [lambda pixels: pixels.shape == (1, 3000, 3)]),
    "16-bit rgb": (sixteen_bit_rgb_png, [colour_at(0, 0, (255, 128, 0), 1)]),
    "16-bit grey": (lambda: encoded(Image.fromarray(np.full((4, 4), 32896, dtype=np.uint16)), "PNG"), [colour_at(0, 0, (128,) * 3, 1)]),
    "1-bit": (lambda: encoded(Image.new("1", (8, 8), 1), "PNG"), [colour_at(0, 0, (255,) * 3)]),
    "float with NaN and infinity": (floats, [lambda pixels: pixels[0, 3, 0] == 255 and pixels[0, 0, 0] == 0]),
    "cmyk jpeg": (lambda: encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "JPEG", quality=95), [colour_at(8, 8, RED, 20)]),
    "cmyk tiff": (lambda: encoded(Image.new("CMYK", (16, 16), (0, 255, 255, 0)), "TIFF"), [colour_at(8, 8, RED, 20)]),
    "palette": (lambda: encoded(Image.fromarray(quadrants()).quantize(4), "PNG"), IS_QUADRANTS),
    "transparent palette on white": (transparent_palette, [colour_at(0, 0, (255,) * 3), colour_at(0, -1, GREEN)]),
    "transparent rgba on white": (lambda: encoded(Image.new("RGBA", (4, 4), (255, 0, 0, 0)), "PNG"), [colour_at(0, 0, (255,) * 3)]),
    "half-transparent grey": (lambda: encoded(Image.new("LA", (4, 4), (0, 128)), "PNG"), [colour_at(0, 0, (127,) * 3, 2)]),
    "garbage for an icc profile": (lambda: picture("PNG", icc_profile=b"garbage"), IS_QUADRANTS),
    "garbage for exif": (lambda: picture("PNG", exif=b"Exif\0\0garbage"), IS_QUADRANTS),
    "icon": (lambda: picture("ICO", size=16, sizes=[(16, 16)]), IS_QUADRANTS),
}  # fmt: skip

REFUSED: dict[str, tuple[Callable[[], bytes], str]] = {
    "empty": (lambda: b"", "empty"),
    "png header claims 50,000 x 50,000": (lambda: png(50_000, 50_000, b"\0" * 1000), "megapixels"),
    "png header claims 4 billion": (lambda: png(0xFFFFFFFF, 1, b"\0" * 1000), "image"),
    "png header claims zero": (lambda: png(0, 0, b"\0"), ""),
    "png header claims more rows than there are": (lambda: png(64, 64, b"\0" * 50), "damaged"),
    "9,000 x 9,000 in a few bytes": (lambda: png(9_000, 9_000, b"\0" * 1000), "cannot be a photograph"),
    "truncated in the signature": (lambda: picture("PNG")[:6], "not an image"),
    "signature alone": (lambda: b"\x89PNG\r\n\x1a\n", "damaged"),
    **{f"{form} cut at {share:.0%}": (lambda form=form, share=share: cut(form, share), "damaged") for form in ("PNG", "JPEG", "BMP", "TIFF", "WEBP", "PPM", "GIF") for share in (0.3, 0.9)},
    "gif frame outside the canvas": (lying_gif, ""),
    "tiff of absurd size": (lambda: tiff_header(2**31 - 1, 2**31 - 1), "megapixels"),
    "tiff of absurd strips": (lambda: tiff_header(64, 64, strips=2**31 - 1), ""),
    "bmp of negative size": (lambda: b"BM" + struct.pack("<IHHIIiiHHIIiiII", 100, 0, 0, 54, 40, -5, -2147483648, 1, 24, 0, 0, 0, 0, 0, 0) + bytes(40), ""),
    "html": (lambda: b"<!DOCTYPE html><html>404</html>", "HTML"),
    "svg": (lambda: b'<svg xmlns="http://www.w3.org/2000/svg"/>', "SVG"),
    "pdf": (lambda: b"%PDF-1.7\n", "PDF"),
    "zip": (zipped, "ZIP"),
    "postscript": (lambda: b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n", "PostScript"),
    "zeros": (lambda: bytes(4096), "not an image"),
    "text": (lambda: b"hello\n" * 50, "not an image"),
}  # fmt: skip


@pytest.mark.parametrize("name", READ)
def test_odd_images_are_read_right(name: str, tmp_path: Path) -> None:
    make, checks = READ[name]
    path = tmp_path / "image.jpg"  # the content decides, whatever the suffix says
    path.write_bytes(make())
    pixels = media.read_image(path, 3)
    assert pixels.dtype == np.uint8
    for check in checks:
        assert check(pixels), pixels[[0, 0, -1, -1], [0, -1, 0, -1]]
    header = media.probe_image(path)
    assert (header.height, header.width) == pixels.shape[:2]
    assert media.read_image(path, 1).shape == (*pixels.shape[:2], 1)


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_images_are_refused_with_one_line(name: str, tmp_path: Path) -> None:
    make, expected = REFUSED[name]
    path = tmp_path / "image.png"
    path.write_bytes(make())
    refused_in_one_line(lambda source: media.read_image(source, 3), path, expected)


def test_there_are_at_least_forty_cases() -> None:
    assert len(READ) + len(REFUSED) >= 40


def test_a_text_bomb_costs_no_memory_to_speak_of(tmp_path: Path) -> None:
    path = tmp_path / "bomb.png"
    path.write_bytes(text_bomb())
    script = (
        "import resource, sys; from hemony.media import image as media; from hemony.errors import InputError\n"
        "before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss\n"
        "for path in sys.argv[1:]:\n"
        "    try: media.read_image(path, 3)\n"
        "    except InputError as error: print(error, file=sys.stderr)\n"
        "print((resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - before) // 1024)\n"
    )
    others = []
    for number, name in enumerate(("png header claims 50,000 x 50,000", "tiff of absurd size", "9,000 x 9,000 in a few bytes")):
        others.append(tmp_path / f"{number}.png")
        others[-1].write_bytes(REFUSED[name][0]())
    finished = subprocess.run([sys.executable, "-c", script, path, *others], capture_output=True, text=True, check=True)
    assert int(finished.stdout) < 100, finished.stderr  # MiB


@pytest.mark.parametrize(
    ("make", "expected"),
    [
        (lambda path: path.mkdir(), "folder"),
        (lambda path: os.mkfifo(path), "pipe"),
        (lambda path: path.symlink_to("nowhere"), "no such file"),
        (lambda path: path.symlink_to(path.name), "cannot be read"),
        (lambda path: None, "no such file"),
    ],
    ids=["folder called x.png", "pipe", "dangling link", "link to itself", "missing"],
)
def test_what_is_not_a_file_is_refused_at_once(tmp_path: Path, make: Callable[[Path], None], expected: str) -> None:
    path = tmp_path / "x.png"
    make(path)
    with pytest.raises(InputError, match=expected):
        media.read_image(path, 3)


def test_names_of_any_kind_stay_on_one_line(tmp_path: Path) -> None:
    path = tmp_path / "ä\nb\x1b[31m.png"
    with pytest.raises(InputError) as caught:
        media.read_image(path, 3)
    assert "\n" not in str(caught.value)
    assert "\x1b" not in str(caught.value)
    path.write_bytes(picture("PNG"))
    assert media.read_image(path, 3).shape == (16, 16, 3)


def test_large_jpegs_are_shrunk_while_decoding_but_never_below_twice_the_size() -> None:
    content = encoded(Image.fromarray(quadrants(512)), "JPEG", quality=95)
    assert media.read_image(content, 3).shape[0] == 512
    shrunk = media.read_image(content, 3, least_size_px=64)
    assert shrunk.shape[0] == 128
    assert all(check(shrunk) for check in IS_QUADRANTS)


def test_find_images_is_sorted_and_safe_from_loops(tmp_path: Path) -> None:
    for name in ("b.PNG", "a.jpg", "note.txt", ".hidden.png", "sub/c.webp", ".git/d.png"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "sub" / "loop").symlink_to(tmp_path)
    images, others = media.find_images(tmp_path)
    assert [path.relative_to(tmp_path).as_posix() for path in images] == ["a.jpg", "b.PNG", "sub/c.webp"]
    assert others == {".txt": 1}


@pytest.mark.parametrize("form", ["PNG", "JPEG", "GIF", "WEBP", "BMP", "TIFF", "PPM"])
def test_flipped_bytes_give_a_picture_or_one_line(form: str) -> None:
    draw = random.Random(form)
    whole = picture(form)
    for _ in range(60):
        damaged = bytearray(whole)
        for _ in range(draw.randint(1, 8)):
            damaged[draw.randrange(len(damaged))] = draw.randrange(256)
        try:
            found = media.read_image(bytes(damaged), 3).ndim == 3
        except InputError as error:
            found = "\n" not in str(error)
        assert found
