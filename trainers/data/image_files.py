"""The one place that says what an image file is, by name: for folders, lists and prediction."""

from __future__ import annotations

from pathlib import PurePath

# by the format that decoding.py opens; a file of another suffix is not read, whatever it holds
SUFFIXES = {
    "BMP": (".bmp", ".dib"),
    "GIF": (".gif",),
    "JPEG": (".jpg", ".jpeg", ".jpe", ".jif", ".jfif", ".mpo"),  # browsers save .jfif
    "PNG": (".png", ".apng"),
    "PPM": (".ppm", ".pgm", ".pbm", ".pnm"),
    "TIFF": (".tif", ".tiff"),
    "WEBP": (".webp",),
}
IMAGE_SUFFIXES = frozenset(suffix for suffixes in SUFFIXES.values() for suffix in suffixes)

_JUNK = frozenset({  # what systems and tools leave behind, in lower case; hidden names are junk besides
    "@eadir", "@tmp", "#recycle", "#snapshot",  # Synology
    "__macosx", "icon\r",  # macOS
    "$recycle.bin", "system volume information", "thumbs.db", "ehthumbs.db", "ehthumbs_vista.db", "desktop.ini",
    "lost+found", "__pycache__",
})  # fmt: skip


def is_image_name(name: str) -> bool:
    """Whether a file of this name, given without its folders, is read as an image."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not is_junk_name(name)


def is_junk_name(name: str) -> bool:
    """Whether a file or folder of this name, given without its folders, is never data: hidden, or left by a system."""
    return name.startswith(".") or name.lower() in _JUNK
