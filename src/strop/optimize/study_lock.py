"""One run at a time writes a study: a lock that ends with the process, however that ends."""

from __future__ import annotations

import os
from pathlib import Path

from strop.errors import UsageError

try:
    import fcntl
except ImportError:  # Windows: two runs there are the user's to keep apart
    fcntl = None  # type: ignore[assignment, unused-ignore]


class StudyLock:
    """Held from the moment it is made until `release`.

    Raises UsageError `study.busy` where another run holds it. A file that is not there is nobody's.

    Example:
        >>> import tempfile
        >>> path = Path(tempfile.mkdtemp()) / "model.study.db"
        >>> path.touch()
        >>> lock = StudyLock(path)
        >>> lock.release()
    """

    def __init__(self, path: Path) -> None:
        self._file: int | None = None
        if fcntl is None or not path.is_file():
            return
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError as error:
            os.close(file)
            raise UsageError(
                "study.busy",
                "another run is writing this study",
                where=str(path),
                hint="wait for it or end it, or give another -o",
            ) from error
        except OSError:  # a file system without locks
            os.close(file)
            return
        self._file = file

    def release(self) -> None:
        """Lets others write; may be called twice."""
        if self._file is not None:
            os.close(self._file)
            self._file = None
