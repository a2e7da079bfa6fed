"""Decoding image files.

Content decides, not the suffix. What cannot be decoded raises InputError with one line; nothing is allocated on the word of a header
alone, and no picture is returned that is only partly there. Needs no torch.
"""

import contextlib
import io
import os
import struct
import warnings
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
from PIL import Image, ImageFile, ImageOps, UnidentifiedImageError

from hemony.errors import InputError
from hemony.media.files import find_files, open_regular, shown, what_it_is

# None of these starts a program, as Pillow's PostScript reader does.
WANTED = ("PNG", "JPEG", "MPO", "WEBP", "GIF", "BMP", "DIB", "TIFF", "PPM", "TGA", "ICO", "PCX", "JPEG2000", "AVIF")
Image.init()
FORMATS = tuple(name for name in WANTED if name in Image.OPEN)
IMAGE_SUFFIXES = frozenset(
    ".png .apng .jpg .jpeg .jpe .jfif .webp .gif .bmp .dib .tif .tiff .pbm .pgm .ppm .pnm .tga .ico .pcx .jp2 .avif".split()
)
MAX_PIXELS = 100_000_000  # 100 megapixels: more than any camera on the market, and 300 MB decoded
MAX_SIDE_PX = 65_535
MAX_FILE_BYTES = 512 * 2**20
COMPRESSION_LIMIT = 2_000  # pixels a byte of file; flat PNGs reach about 1,000
ORIENTATION_TAG = 0x0112

# Process-wide switches of Pillow, set once: refuse what is not whole, and let our own limit speak.
ImageFile.LOAD_TRUNCATED_IMAGES = False
Image.MAX_IMAGE_PIXELS = None
# Pillow warns of odd metadata; the pixels decide. Not in a `catch_warnings` block, which threads would undo for one another.
warnings.filterwarnings("ignore", module=r"PIL\.")


@dataclass(frozen=True)
class ImageHeader:
    """What a file says of itself before it is decoded, EXIF orientation applied."""

    height: int
    width: int
    colour: bool


def read_image(source: Path | str | bytes, channels: int, least_size_px: int | None = None) -> npt.NDArray[np.uint8]:
    """A picture as uint8 (height, width, channels), `channels` being 1 (grey) or 3 (RGB).

    EXIF orientation is applied, transparency is laid on white, an animation gives its first frame, 16-bit values are scaled to
    8 bits. `least_size_px` lets a large JPEG be decoded at 1/2, 1/4 or 1/8 as long as both sides stay at twice that size or more:
    the antialiased resize that follows then sees no difference. Raises InputError.
    """
    with opened(source) as image:
        if least_size_px and image.format == "JPEG":
            image.draft(None, (2 * least_size_px, 2 * least_size_px))
        return as_array(image, channels)


def probe_image(source: Path | str | bytes) -> ImageHeader:
    """Size and colour from the header alone. Raises InputError for what `read_image` would refuse by its header."""
    with opened(source) as image:
        width, height = image.size
        if image.format != "TIFF" and orientation_of(image) in (5, 6, 7, 8):  # Pillow itself turns a TIFF, size and all
            width, height = height, width
        colour = image.mode not in ("1", "L", "LA", "I", "F", "I;16", "I;16B", "I;16L", "I;16N")
        return ImageHeader(height, width, colour)


def find_images(root: Path) -> tuple[list[Path], Counter[str]]:
    """Every image file below `root`, by suffix, sorted by path, and how many others there are of each suffix."""
    return find_files(root, IMAGE_SUFFIXES)


@contextlib.contextmanager
def opened(source: Path | str | bytes) -> Iterator[Image.Image]:
    """An image whose header has been read and found reasonable; whatever Pillow raises becomes an InputError."""
    name = "the image" if isinstance(source, bytes) else shown(source)
    content = source if isinstance(source, bytes) else read_file(Path(source), name)
    try:
        with Image.open(io.BytesIO(content), formats=FORMATS) as image:
            check_header(image, name, len(content))
            yield image
    except InputError:
        raise
    except UnidentifiedImageError:
        raise InputError(f"{name}: {unidentified(content)}") from None
    except MemoryError:
        raise InputError(f"{name}: too large for this machine's memory") from None
    except Exception as error:  # decoders raise OSError, ValueError, SyntaxError, struct.error, EOFError, IndexError, ...
        line = " ".join(str(error).split())[:120] or type(error).__name__
        raise InputError(f"{name}: damaged image ({line})") from None


def read_file(path: Path, name: str) -> bytes:
    """A regular file of reasonable size."""
    with open_regular(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if size > MAX_FILE_BYTES:
            raise InputError(f"{name}: {size / 2**20:,.0f} MiB, more than the {MAX_FILE_BYTES // 2**20} MiB that are read")
        return stream.read(MAX_FILE_BYTES)


def unidentified(content: bytes) -> str:
    """What a file is that Pillow does not know."""
    if content[4:8] == b"ftyp":
        return "a HEIF or video file; convert it to JPEG or PNG"
    return what_it_is(content[:512], "image", "not an image, or one too damaged to be recognised")


def check_header(image: Image.Image, name: str, file_bytes: int) -> None:
    """Refuse what a header claims before anything is allocated for it."""
    width, height = image.size
    if width < 1 or height < 1:
        raise InputError(f"{name}: claims {width} x {height} pixels")
    if width * height > MAX_PIXELS or max(width, height) > MAX_SIDE_PX:
        raise InputError(
            f"{name}: claims {width:,} x {height:,} pixels, more than the {MAX_PIXELS // 10**6} megapixels that are read"
        )
    if width * height > COMPRESSION_LIMIT * file_bytes + 10**6:
        raise InputError(f"{name}: claims {width:,} x {height:,} pixels in {file_bytes:,} bytes, which cannot be a photograph")
    if image.format == "TIFF":  # Pillow may have swapped the sides already, but not yet the strips
        width = height = max(width, height)
    for tile in getattr(image, "tile", None) or []:
        box = tile[1]
        if box and (box[2] > width or box[3] > height or min(box) < 0):
            raise InputError(f"{name}: damaged image (a frame lies outside the canvas)")


def orientation_of(image: Image.Image) -> int:
    """The EXIF orientation, 1 to 8; 1 where there is none that can be read."""
    try:
        value: Any = image.getexif().get(ORIENTATION_TAG, 1) if "exif" in image.info or image.format in ("TIFF", "MPO") else 1
    except (OSError, ValueError, SyntaxError, KeyError, TypeError, struct.error, EOFError, IndexError):
        return 1
    return value if isinstance(value, int) and 1 <= value <= 8 else 1


TRANSPOSES = {
    2: Image.Transpose.FLIP_LEFT_RIGHT,
    3: Image.Transpose.ROTATE_180,
    4: Image.Transpose.FLIP_TOP_BOTTOM,
    5: Image.Transpose.TRANSPOSE,
    6: Image.Transpose.ROTATE_270,
    7: Image.Transpose.TRANSVERSE,
    8: Image.Transpose.ROTATE_90,
}


def as_array(image: Image.Image, channels: int) -> npt.NDArray[np.uint8]:
    """Decode, turn upright, and bring to uint8 (height, width, channels)."""
    image.load()
    orientation = orientation_of(image)  # after loading, for Pillow itself turns a TIFF then
    mode = "L" if channels == 1 else "RGB"
    upright = image.transpose(TRANSPOSES[orientation]) if orientation != 1 else image
    if upright.mode != mode:
        upright = converted(upright, mode)
    array = np.asarray(upright)
    return array[:, :, None].copy() if channels == 1 else array.copy()


def converted(image: Image.Image, mode: str) -> Image.Image:
    """To grey (L) or RGB: deep values scaled to 8 bits, transparency laid on white."""
    if image.mode in ("I", "F") or image.mode.startswith("I;16"):
        return eight_bits(image).convert(mode)
    if image.mode in ("RGBA", "LA", "PA", "RGBa", "La") or "transparency" in image.info:
        layered = image.convert("RGBA")
        white = Image.new("RGBA", layered.size, "white")
        return Image.alpha_composite(white, layered).convert(mode)
    if image.mode == "CMYK" and image.info.get("adobe_transform") is not None and image.format != "JPEG":
        image = ImageOps.invert(image)
    return image.convert(mode)


def eight_bits(image: Image.Image) -> Image.Image:
    """16-bit, 32-bit and float images as grey of 8 bits: by the type's range, or by the values' own where the type has none."""
    values = np.asarray(image, dtype=np.float64)
    values = np.nan_to_num(values, nan=0.0, posinf=0.0, neginf=0.0)
    if image.mode == "F" or (image.mode == "I" and (values.max() > 65_535 or values.min() < 0)):
        low, high = min(values.min(), 0.0), max(values.max(), 1.0)
        scaled = (values - low) * (255 / (high - low))
    else:
        scaled = values / 257
    return Image.fromarray(np.rint(scaled).astype(np.uint8))
