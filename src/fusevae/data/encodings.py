"""Files that should be text: in what encoding, or what they are instead."""

from __future__ import annotations

import json
from pathlib import Path

from fusevae.core.errors import InputError
from fusevae.core.untrusted import regular

ZEROS = 0.1  # part of the characters of a text that no text has
#: how files that are no text begin, and what to do with each
FOREIGN = {
    b"\x1f\x8b": "compressed by gzip: unpack it",
    b"BZh91AY": "compressed by bzip2: unpack it",
    b"\xfd7zXZ": "compressed by xz: unpack it",
    b"\x28\xb5\x2f\xfd": "compressed by zstd: unpack it",
    b"PK\x03\x04": "a zip, or of Excel or Word: unpack it, or save the sheet as .csv, the text as .txt",
    b"\xd0\xcf\x11\xe0": "of an old Excel or Word: save the sheet as .csv",
    b"PAR1\x15": "parquet: let its name end in .parquet",
    b"ARROW1\0": "an Arrow (feather) file: save it as .parquet",
    b"\x93NUMPY": "an array of numpy: let its name end in .npy",
    b"\x89HDF": "HDF5: save it as .parquet or .csv",
    b"SQLite format 3\0": "a database of SQLite: save the table as .csv",
    b"%PDF": "PDF: save its text",
    b"{\\rtf": "RTF: save it as plain text",
    b"version https://git-lfs": "a pointer of Git LFS, not the file itself: get that by git lfs pull",
    b"<!doctype html": "a web page: was the download refused? Get the file itself",
    b"<html": "a web page: was the download refused? Get the file itself",
}


def decoded(path: Path, what: str) -> str:
    """The text of a file in UTF-8, or in UTF-16 or UTF-32 with or without a mark; :class:`InputError` for what is none.

    Args:
        path: of the file.
        what: it should be, in words.
    """
    data = regular(path, what).read_bytes()
    check_known(path, data, what)
    encoding = encoding_of(data)
    try:
        text = data.decode(encoding).lstrip("\ufeff")
    except UnicodeDecodeError as error:
        line, shown = data.count(b"\n", 0, error.start) + 1, data[error.start : error.start + 1].hex()
        raise InputError(
            f"{path}: line {line} is no {encoding.upper().removesuffix('-SIG')} (byte 0x{shown}): save it as UTF-8 "
            "(it may be in Windows-1252, Latin-1 or another encoding), with the same letters"
        ) from None
    if text.count("\0") > ZEROS * len(text):
        raise InputError(f"{path} holds zero bytes, as no {what} does: is it damaged, or in UTF-16? Save it as UTF-8")
    return text


def encoding_of(data: bytes) -> str:
    """That of some text: UTF-8, unless a mark, or where its first zeros are, says otherwise.

    Example:
        >>> encoding_of(b"a,b"), encoding_of("a,b".encode("utf-16-le")), encoding_of("a,b".encode("utf-16"))
        ('utf-8', 'utf-16-le', 'utf-16')
    """
    return json.detect_encoding(data[:4]) if len(data) > 1 else "utf-8"


def foreign(data: bytes) -> str:
    """What a file is that begins so, and what to do with it; empty where it may be text."""
    page = data[:30].lstrip(b"\xef\xbb\xbf \r\n\t").lower()
    return next((found for begin, found in FOREIGN.items() if data.startswith(begin) or page.startswith(begin)), "")


def check_known(path: Path, data: bytes, what: str) -> None:
    """Refuse a file that begins as one of another kind does."""
    if found := foreign(data):
        raise InputError(f"{path} is no {what} but {found}")
