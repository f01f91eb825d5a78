"""An MCAP file whose recorder was killed, as if it had ended with its last whole record."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO

#: How every MCAP file begins and ends (the format: https://mcap.dev/spec).
MAGIC = b"\x89MCAP0\r\n"
_DATA_END, _FOOTER = 0x0F, 0x02
#: A record's opcode and the length of what follows.
_HEAD = 9
#: A footer that says: no summary, no checksum.
_END = bytes([_FOOTER]) + (20).to_bytes(8, "little") + bytes(20) + MAGIC


class WholePart:
    """A file up to its last whole record; has what ``rosbags`` asks of a path.

    Nothing is written and nothing copied: the end that is missing is put behind the file while it is read.

    Attributes:
        path: The file.
        lost: Bytes that belong to a record that is not whole.
    """

    def __init__(self, path: Path) -> None:
        """Look where the file ends being whole."""
        self.path = path
        with path.open("rb") as file:
            self._whole = _whole_bytes(file)
        self.lost = path.stat().st_size - self._whole

    @property
    def suffix(self) -> str:
        """That of the file."""
        return self.path.suffix

    def exists(self) -> bool:
        """Whether the file is there."""
        return self.path.exists()

    def is_dir(self) -> bool:
        """It is a file."""
        return False

    def open(self, mode: str = "rb") -> _Completed:
        """Open it for reading."""
        return _Completed(self.path.open("rb"), self._whole)

    def __str__(self) -> str:
        return str(self.path)


def _whole_bytes(file: BinaryIO) -> int:
    """Return where the data of a file end: behind the last whole record that is not part of the summary."""
    size = file.seek(0, io.SEEK_END)
    at = len(MAGIC)
    while at + _HEAD <= size:
        file.seek(at)
        head = file.read(_HEAD)
        length = int.from_bytes(head[1:], "little")
        if head[0] in (0, _DATA_END, _FOOTER) or at + _HEAD + length > size:
            break
        at += _HEAD + length
    return min(at, size)


class _Completed(io.RawIOBase):
    """The first bytes of a file, and the end that it lacks."""

    def __init__(self, file: BinaryIO, whole: int) -> None:
        self._file, self._whole, self._at = file, whole, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def tell(self) -> int:
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._whole + len(_END)}[whence]
        self._at = base + offset
        return self._at

    def read(self, size: int = -1) -> bytes:
        stop = self._whole + len(_END) if size < 0 else self._at + size
        self._file.seek(min(self._at, self._whole))
        found = self._file.read(max(0, min(stop, self._whole) - self._at))
        found += _END[max(0, self._at - self._whole) : max(0, stop - self._whole)]
        self._at += len(found)
        return found

    def close(self) -> None:
        self._file.close()
        super().close()
