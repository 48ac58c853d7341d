"""The one place that says by name what an image file is, and what is junk of other programs."""

from __future__ import annotations

from pathlib import PurePath

from trainers.data.decoding import IMAGE_SUFFIXES

_JUNK = {"@eadir", "__macosx", "lost+found", "thumbs.db", "desktop.ini", "$recycle.bin"}


def is_image_name(name: str) -> bool:
    """True if a file of this name is read as an image."""
    return PurePath(name).suffix.lower() in IMAGE_SUFFIXES and not is_junk_name(name)


def is_junk_name(name: str) -> bool:
    """True for files and folders that systems and editors leave behind; hidden ones are junk, too."""
    return name.startswith(".") or name.lower() in _JUNK
