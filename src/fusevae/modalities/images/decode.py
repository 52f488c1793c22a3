"""One file of an image: decoded to pixels as it is shown."""

from __future__ import annotations

import contextlib
import functools
import itertools
from io import BytesIO
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple

import numpy as np

from fusevae.core.errors import InputError
from fusevae.data.encodings import foreign
from fusevae.data.folders import UnfitError
from fusevae.data.parts import Options

if TYPE_CHECKING:
    from PIL.Image import Image as Picture
    from PIL.ImageCms import ImageCmsTransform
    from PIL.ImageFile import ImageFile

_SUFFIXES = ".png .jpg .jpeg .bmp .webp .gif .tif .tiff .ppm .pgm .pbm .pnm .jpe .jfif .jp2 .avif .tga"
SUFFIXES = tuple(_SUFFIXES.split())
ORIENTATION = 0x0112  # the tag of EXIF
BITS, BLACK = 258, 262  # tags of TIFF: bits a channel; 0 where black is the largest value
NEAR = 3  # of 255, by which spaces that are all called sRGB differ

Encoded = bytes | Path


class Shown(NamedTuple):
    """Pixels ``(channels, H, W)``, uint8 or (of 16 bits) int32, and whether transparency was laid on a background, and
    colours converted."""

    pixels: np.ndarray
    laid: bool
    converted: bool = False


def decode(name: str, encoded: Encoded, options: Options, page: int | None = None) -> list[Shown]:
    """The pages of a file (most have one), or one ``page`` of them: grey ones with one channel, others with three.

    A page is turned as its orientation tag says, and its colours are made sRGB where a profile says that they are
    others; what is transparent is laid on ``options.background``. Where ``options.size`` (height, width) is given it is
    scaled to cover that, and what sticks out at the sides is cut off. Grey of 16 bits keeps its values.
    :class:`InputError` with the ``name`` for a damaged file; :class:`UnfitError` for what can't be read truly: other
    pictures of more than 8 bits a channel, several pages unless ``options.pages`` says what to do with them, more
    pixels than Pillow opens.
    """
    from PIL import Image

    try:
        # a stream: of a path, Pillow maps a grey TIFF with its sides exchanged where it is turned
        opened = BytesIO(encoded) if isinstance(encoded, bytes) else encoded.open("rb")
        with opened, Image.open(opened) as file:
            n = _pages(name, file, options) if page is None else 0
            found = []
            for i in range(n) if page is None else (page,):
                file.seek(i)
                found.append(_shown(name if n == 1 or page == 0 else f"{name} page {i + 1}", file, options))
            return found
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        raise UnfitError(f"{name} is too large to be opened ({error}): scale it down, or cut it up") from None
    except MemoryError:
        raise
    except Exception as error:  # Pillow raises whatever its parts do
        told = not isinstance(error, OSError) or "truncated" in str(error)
        reason = " ".join(str(error).split()) if told else _why(encoded)
        raise InputError(
            f"{name} can't be decoded ({reason}): mend or delete it, or pass --skip-damaged "
            "(skip_damaged=True) to use the others"
        ) from None


def _why(encoded: Encoded) -> str:
    """Why a file is no image."""
    if isinstance(encoded, Path) and not encoded.exists():
        return "a link to nothing"
    with contextlib.suppress(OSError):
        data = encoded if isinstance(encoded, bytes) else encoded.read_bytes()
        return f"it is {foreign(data)}" if foreign(data) else "no whole image" if data else "it is empty"
    return "no whole image"


def _pages(name: str, file: ImageFile, options: Options) -> int:
    """How many pages or frames are to be read."""
    if file.format == "MPO" or options.pages == "first":  # a photo; its other frames are a preview, or its depth
        return 1
    n = getattr(file, "n_frames", 1)
    if n > 1 and options.pages != "each":
        raise UnfitError(
            f"{name} has {n} pages or frames: expected one; data.pages=each (pages='each') makes an example of each, "
            "first takes the first alone"
        )
    return n


def _shown(name: str, file: ImageFile, options: Options) -> Shown:
    from PIL import Image, ImageOps

    if (bits := _bits(file)) > 8 and not _is_deep(file):
        raise UnfitError(
            f"{name} has more than 8 bits a channel ({bits}): expected 8, or 16 of grey alone (PNG, TIFF; black is 0, "
            "nothing is transparent); give the values as .npz, or convert it"
        )
    file.load()
    image: Picture = ImageOps.exif_transpose(file) if file.getexif().get(ORIENTATION, 1) != 1 else file
    if bits > 8:
        image = _sized(Image.fromarray(np.asarray(image).astype(np.float32)), options)
        return Shown(np.asarray(image).round().astype(np.int32)[None], laid=False)
    grey, laid = image.mode in ("1", "L", "LA", "La"), False
    if is_transparent(image):
        laid, colour = True, background(options.background)
        image = Image.alpha_composite(Image.new("RGBA", image.size, colour), image.convert("RGBA"))
        grey = grey and len(set(colour)) == 1
    image = image if image.mode == "CMYK" else image.convert("L" if grey else "RGB")
    transform = None if grey else to_srgb(file.info.get("icc_profile") or b"", image.mode)
    image = image.convert("L" if grey else "RGB") if transform is None else transform.apply(image)
    pixels = np.asarray(_sized(image, options))
    return Shown(pixels[None] if grey else pixels.transpose(2, 0, 1), laid, transform is not None)


def _sized(image: Picture, options: Options) -> Picture:
    """Scaled to cover ``options.size``, and cut to it."""
    from PIL import Image, ImageOps

    if options.size is None or image.size == options.size[::-1]:
        return image
    return ImageOps.fit(image, options.size[::-1], Image.Resampling.BILINEAR)


@functools.lru_cache(16)
def to_srgb(profile: bytes, mode: str) -> ImageCmsTransform | None:
    """What makes sRGB, as it is shown, of colours of another space; None for sRGB itself, and where nothing is told."""
    if not profile:
        return None
    try:
        from PIL import Image, ImageCms

        space = ImageCms.ImageCmsProfile(BytesIO(profile))
        shown = ImageCms.ImageCmsProfile(ImageCms.createProfile("sRGB"))
        found = ImageCms.ImageCmsTransform(space, shown, mode, "RGB")
        if mode == "RGB":
            levels = np.array(list(itertools.product(range(0, 256, 51), repeat=3)), np.uint8)[None]
            away = np.asarray(found.apply(Image.fromarray(levels))).astype(int) - levels
            return found if np.abs(away).max() > NEAR else None
        return found
    except (OSError, ImportError, ValueError):  # damaged, or of another kind of picture: nobody shows it by that
        return None


def _bits(file: ImageFile) -> int:
    """Bits a channel, of the file itself: Pillow would cut a colour image to 8 without a word."""
    if file.mode[0] in "IF":
        return 16 if "16" in file.mode else 32
    told = [part for tile in file.tile for part in (tile[3] if isinstance(tile[3], tuple) else (tile[3],))]
    if any(";16" in part for part in told if isinstance(part, str)):
        return 16
    if file.format == "PPM":  # the largest value, where it isn't 255
        return max([part.bit_length() for part in told if isinstance(part, int)], default=8)
    return max(getattr(file, "tag_v2", {}).get(BITS, (8,)))


def _is_deep(file: ImageFile) -> bool:
    """Whether it is grey of 16 bits whose values Pillow gives as they are: not where one of them is transparent, nor
    where black is the largest."""
    plain = "transparency" not in file.info and getattr(file, "tag_v2", {}).get(BLACK, 1) != 0
    return plain and (file.mode.startswith("I;16") or (file.mode == "I" and file.format == "PNG"))


def is_transparent(image: Picture) -> bool:
    """Whether any pixel is not opaque."""
    may = image.mode in ("LA", "La", "PA", "RGBA", "RGBa") or "transparency" in image.info
    return may and int(np.asarray(image.convert("RGBA"))[..., 3].min()) < 255


def background(colour: str) -> tuple[int, int, int]:
    """Red, green and blue of a colour by its name, or as ``#rrggbb``.

    Example:
        >>> background("white"), background("#202020")
        ((255, 255, 255), (32, 32, 32))
    """
    from PIL import ImageColor

    try:
        red, green, blue, *alpha = ImageColor.getrgb(colour)
    except ValueError:
        alpha = [0]
    if alpha:
        raise InputError(f"background={colour!r} was given: expected a colour such as 'white' or '#202020'")
    return red, green, blue
