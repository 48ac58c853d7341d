"""Images that somebody made to do harm, of every format that Pillow knows; a seed makes the same ones everywhere."""

from __future__ import annotations

import io
import random
import struct
import zlib
from collections.abc import Callable, Iterator

from PIL import Image

EPS = b"""%!PS-Adobe-3.0 EPSF-3.0
%%BoundingBox: 0 0 8 8
%%EndComments
(/tmp/never) (w) file closefile
{} loop
%%EOF
"""
# what Pillow reads but cannot write, by what its readers look for
HEADERS = {
    "CUR": b"\0\0\2\0\1\0" + bytes([8, 8, 0, 0]) + struct.pack("<HHII", 0, 0, 40, 22),
    "DCX": struct.pack("<III", 0x3ADE68B1, 12, 0),
    "FITS": b"SIMPLE  =                    T".ljust(80) + b"BITPIX  = 8".ljust(80) + b"END".ljust(2720),
    "FLI": struct.pack("<IHHHHHH", 128, 0xAF11, 1, 8, 8, 8, 3) + bytes(128),
    "FTEX": b"FTEX" + struct.pack("<iiiiii", 1, 8, 8, 1, 1, 0) + bytes(64),
    "GBR": struct.pack(">IIIIIII", 30, 2, 8, 8, 1, 0x47494D50, 10) + b"x\0" + bytes(64),
    "IMT": b"\nwidth 8\nheight 8\n\x0c" + bytes(64),
    "IPTC": b"\x1c\x03\x3c\x00\x02\x01\x00" + b"\x1c\x03\x14\x00\x02\x00\x08" + b"\x1c\x08\x0a\x00\x00",
    "MCIDAS": struct.pack(">64i", 0, 4, *([1] * 62)),
    "MPEG": b"\0\0\1\xb3\0\x80\x08\x13" + bytes(64),
    "PCD": bytes(2048) + b"PCD_" + bytes(4096),
    "PIXAR": b"\200\350\000\000" + bytes(1020),
    "PSD": b"8BPS\0\1" + bytes(6) + struct.pack(">HIIHH", 3, 8, 8, 8, 3) + bytes(64),
    "SUN": struct.pack(">8I", 0x59A66A95, 8, 8, 24, 192, 1, 0, 0) + bytes(192),
    "WMF": b"\xd7\xcd\xc6\x9a\0\0" + struct.pack("<4hH", 0, 0, 64, 64, 72) + bytes(6) + b"\x01\x00\x09\x00" + bytes(64),
    "XPM": b'/* XPM */\nstatic char *x[] = {\n"8 8 1 1",\n"  c #000000",\n' + b'"        ",\n' * 8 + b"};\n",
    "XVTHUMB": b"P7 332\n#END_OF_COMMENTS\n8 8 255\n" + bytes(64),
}
SUFFIXES = ("png", "jpg", "gif", "bmp", "tiff", "webp", "ppm")
OURS = ("BMP", "GIF", "JPEG", "MPO", "PNG", "PPM", "TIFF", "WEBP")


def every_format() -> dict[str, bytes]:
    """One small image of each format that Pillow can open: saved by it where it can, else a header."""
    Image.init()
    found = {"EPS": EPS}
    image = Image.radial_gradient("L").resize((64, 64)).convert("RGB")
    for name in sorted(set(Image.OPEN) | set(Image.SAVE)):
        data = saved(image, name) or HEADERS.get(name)
        if data is not None and name != "EPS":
            found[name] = data
    missing = set(Image.OPEN) - set(found)
    assert missing <= {"BUFR", "GRIB", "HDF5", "AVIF", "JPEG2000", "QOI", "WEBP"}, missing  # by how Pillow was built
    return found | {"BUFR": b"BUFR" + bytes(64), "GRIB": b"GRIB\0\0\0\1" + bytes(64), "HDF5": b"\x89HDF\r\n\x1a\n" * 9}


def hostile(seed: int, originals: dict[str, bytes]) -> Iterator[tuple[str, bytes]]:
    """What becomes of them: as they are under another name, cut, with flipped bits, and with lies in the header."""
    chance = random.Random(seed)
    for name, data in originals.items():
        yield name, data
        yield f"{name} cut", data[: chance.randrange(1, len(data))]
        for _ in range(2):
            yield f"{name} flipped", _flipped(data, chance)
        yield f"{name} lying", _lying(data, chance)
        yield f"{name} swollen", data + bytes(chance.randrange(256) for _ in range(200))


def chunk(name: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + name + data + struct.pack(">I", zlib.crc32(name + data))


def png(width: int, height: int, extra: bytes = b"", *, bits: int = 8) -> bytes:
    """Black; of its pixels at most 10 MB are there."""
    rows = zlib.compress(bytes(min(10**7, height * (1 + (width * bits * (3 if bits == 8 else 1) + 7) // 8))))
    header = struct.pack(">IIBBBBB", width, height, bits, 2 if bits == 8 else 0, 0, 0, 0)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + extra + chunk(b"IDAT", rows) + chunk(b"IEND", b"")


def bmp(width: int, height: int, compression: int) -> bytes:
    header = struct.pack("<IiiHHIIiiII", 40, width, height, 1, 8, compression, 0, 1, 1, 256, 0)
    return b"BM" + struct.pack("<IHHI", 1078, 0, 0, 1078) + header + bytes(1024)


def tiff_tile(width: int, height: int) -> bytes:
    """64x64 pixels in one tile that is said to be larger, and unpacks to zeros."""
    data = zlib.compress(bytes(10**7))
    tags = {256: 64, 257: 64, 258: 8, 259: 8, 262: 1, 277: 1, 322: width, 323: height, 324: 142, 325: len(data)}
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags.items())
    return b"II*\0" + struct.pack("<IH", 8, len(tags)) + entries + bytes(4 + 142 - 14 - len(entries)) + data


def jpeg_said_to_be(width: int, height: int) -> bytes:
    data = saved(Image.new("RGB", (8, 8)), "JPEG")
    at = data.index(b"\xff\xc0") + 5
    return data[:at] + struct.pack(">HH", height, width) + data[at + 4 :]


def jpeg_scans(count: int) -> bytes:
    """A progressive image whose last scan comes again and again."""
    buffer = io.BytesIO()
    Image.new("L", (4096, 4096)).save(buffer, "JPEG", quality=1, progressive=True)
    data = buffer.getvalue()
    return data[:-2] + data[data.rindex(b"\xff\xda") : -2] * count + data[-2:]


def saved(image: Image.Image, name: str) -> bytes:
    """In the first mode that the format has, the image's own before others; nothing where Pillow cannot write it."""
    for mode in (image.mode, "RGB", "L", "1", "P"):
        buffer = io.BytesIO()
        try:
            image.convert(mode).save(buffer, name)
        except (OSError, ValueError, KeyError, AttributeError):
            continue
        return buffer.getvalue()
    return b""


def _flipped(data: bytes, chance: random.Random) -> bytes:
    spoilt = bytearray(data)
    for _ in range(chance.randint(1, 8)):
        spoilt[chance.randrange(len(spoilt))] ^= 1 << chance.randrange(8)
    return bytes(spoilt)


def _lying(data: bytes, chance: random.Random) -> bytes:
    """Four bytes near the beginning are the largest number there is."""
    at = chance.randrange(4, min(64, len(data)))
    return data[:at] + b"\xff\xff\xff\x7f" + data[at + 4 :]


BOMBS: dict[str, Callable[[], bytes]] = {  # small files that claim, or unpack to, more than a machine has
    "PNG of 268 megapixels": lambda: png(2**14, 2**14, bits=1),
    "PNG of 2**62 pixels": lambda: png(2**31 - 1, 2**31 - 1),
    "PNG text": lambda: png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "PNG texts": lambda: png(8, 8, chunk(b"zTXt", b"a\0\0" + zlib.compress(bytes(10**6))) * 100),
    "PNG profile": lambda: png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**8)))),
    "PNG profiles": lambda: png(8, 8, chunk(b"iCCP", b"a\0\0" + zlib.compress(bytes(10**6))) * 10_000),
    "GIF of 4 gigapixels": lambda: (
        b"GIF89a\xff\xff\xff\xff\x80\0\0" + bytes(6) + b",\0\0\0\0\xff\xff\xff\xff\0\2\2L\1\0;"
    ),
    "BMP of 2**62 pixels": lambda: bmp(2**31 - 1, 2**31 - 1, 0),
    "BMP rows": lambda: bmp(60_000, 2_200, 1) + b"\1\0\0\0" * 2_200,
    "BMP deltas": lambda: bmp(2**26, 1, 1) + b"\0\2\xff\xff" * 1_000,
    "PPM comments": lambda: b"P3 1000 1000 255 " + b"#\n" * 500_000,
    "PPM of 2**66 pixels": lambda: b"P6 9999999999 9999999999 255 ",
    "PPM slow": lambda: b"P6 4096 4096 254 " + bytes(4096 * 4096 * 3),
    "TIFF tile": lambda: tiff_tile(2**15, 2**15),
    "WEBP of 268 megapixels": lambda: b"RIFF\x20\0\0\0WEBPVP8L\x11\0\0\0\x2f\xff\xff\xff\x0f" + bytes(13),
    "JPEG of 4 gigapixels": lambda: jpeg_said_to_be(65_500, 65_500),
    "JPEG scans": lambda: jpeg_scans(3_000),
}
