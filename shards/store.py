"""Files of a store by URL: ``http(s)://``, ``s3://``, and whatever else fsspec opens. No URL runs anything.

Credentials are each store's usual ones: AWS's environment and files, ``~/.netrc`` or ``https://user:password@...``,
fsspec's own configuration files. Errors, tables and notes never show a password or a query, which may hold a token.

What a network does to a request is tried again, with growing pauses; what another try cannot help (a file that is not
there, refused credentials) is not. Either ends in an error that names the file.
"""

import errno
import hashlib
import random
import re
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypeVar
from urllib.parse import quote, unquote, urlsplit

from shards.errors import UserError
from shards.extras import need
from shards.faults import Damaged, final, said

Result = TypeVar("Result")

PAUSES = [0.5, 1.0, 2.0, 4.0, 8.0]
"""Seconds between tries, each cut by a random part so that ranks do not come back together."""
STALL = 30.0
"""Seconds without a byte after which a connection is given up."""
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_WEB = ("http", "https")
_MODULES = {"http": ("aiohttp",), "https": ("aiohttp",), "s3": ("s3fs",), "s3a": ("s3fs",)}
"""Besides fsspec, which torch brings. Other stores' packages are named by fsspec itself."""
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci", "tos", "memory")
"""Stores in which a file appears when all of it is there."""
_REFUSED = ("reference",)
"""What fsspec opens by evaluating templates that a file holds."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_SERVER = "look at the store, and start the same command again"


class Missing(UserError):
    """A file that a store does not have."""


@dataclass(frozen=True)
class Remote:
    """A file or folder of a store. ``/`` joins names as it does for paths, and text is without what is secret."""

    url: str

    def __truediv__(self, name: str) -> "Remote":
        parts = self.url.split("::")
        at = next(number for number, part in enumerate(parts) if "://" in part)
        folder, mark, query = parts[at].partition("?") if self.protocol in _WEB else (parts[at], "", "")
        name = quote(name) if self.protocol in _WEB else name
        parts[at] = f"{folder.rstrip('/')}/{name}{mark}{query}" if not folder.endswith("://") else folder + name
        return Remote("::".join(parts))

    def __str__(self) -> str:
        return re.sub(r"://[^/@]*@", "://", re.sub(r"\?.*?(?=::|$)", "", self.url))

    @property
    def _protocols(self) -> list[str]:
        """Of the file, and of what it lies in where the URL says so (``zip://FOLDER::s3://BUCKET/FILE.zip``)."""
        return re.findall(r"(?:^|::)([A-Za-z][A-Za-z0-9+.-]*)(?=:)", self.url)

    @property
    def protocol(self) -> str:
        return self._protocols[0]

    def read_bytes(self) -> bytes:
        """All of a small file.

        Raises:
            Missing: when it is not there.
            UserError: when it cannot be read.
        """
        return self._tried(lambda files, name: files.cat_file(name))

    def exists(self) -> bool:
        """Whether a small file is there; asked for by reading it, since not every web server answers otherwise.

        Raises:
            UserError: when the store does not say.
        """
        try:
            self.read_bytes()
        except Missing:
            return False
        return True

    def size(self) -> int | None:
        """Bytes of a file, None where the store does not say.

        Raises:
            Missing: when it is not there.
            UserError: when the store does not answer.
        """
        return self._tried(lambda files, name: files.info(name).get("size"))

    def fetch(self, path: Path, sha256: str, size: int | None = None) -> None:
        """Write the file to a path, once it has arrived with this hash.

        Raises:
            Missing: when it is not there.
            UserError: when it cannot be read, or arrives with other bytes each time.
            OSError: when the path's own disk is full or cannot be written.
        """

        def get(files: Any, name: str) -> None:
            files.get_file(name, str(path))
            found = path.stat().st_size
            if size is not None and found != size:
                raise Damaged(f"{found} bytes arrived, where the manifest says {size}")
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise Damaged("the bytes that arrive differ from the sha256 that the manifest names")

        self._tried(get)

    def check_writable(self) -> None:
        """Raise a UserError for a store that only gives files."""
        if self.protocol in _WEB:
            what = "cannot be written: a web server only gives files"
            raise UserError(what, file=str(self), hint="give a folder, or s3:// or another store that takes files")

    def put(self, path: Path) -> None:
        """Write a local file to the store, whole or not at all.

        Raises:
            UserError: when it cannot be written.
        """
        self.check_writable()

        def put(files: Any, name: str) -> None:
            if self.protocol in _OBJECTS:
                files.put_file(str(path), name)
            else:
                draft = f"{name}.{random.getrandbits(32):08x}.tmp"
                files.makedirs(files._parent(name), exist_ok=True)
                files.put_file(str(path), draft)
                files.mv(draft, name)
            if (found := files.info(name).get("size")) not in (None, path.stat().st_size):
                raise Damaged(f"{found} bytes are there, where {path.stat().st_size} were written")

        self._tried(put, "written")

    def _tried(self, call: Callable[[Any, str], Result], done: str = "read") -> Result:
        _check(self)
        from fsspec.core import url_to_fs

        options = {name: _options(name) for name in self._protocols}
        for pause in [*PAUSES, None]:
            try:
                given = options if len(options) > 1 else options[self.protocol]
                files, name = url_to_fs(self.url, **given)
                return call(files, name)
            except UserError:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in _DISK:
                    raise
                missing, hint = final(error)
                if missing and done == "written":
                    missing, hint = False, "make the bucket or folder, or correct the URL"
                if missing or hint:
                    kind, what = (Missing, "is missing") if missing else (UserError, f"cannot be {done}")
                    said = "" if missing else f" ({self._said(error)})"
                    raise kind(what + said, file=str(self), hint=hint or "copy it to the store again") from error
                if pause is None:
                    what = f"cannot be {done}, {len(PAUSES) + 1} times in a row ({self._said(error)})"
                    raise UserError(what, file=str(self), hint=_SERVER) from error
                time.sleep(pause * (0.5 + random.random() / 2))
        raise AssertionError("unreachable")

    def _said(self, error: BaseException) -> str:
        parts = urlsplit(self.url)
        return said(error, (parts.query, parts.password))


Place = Path | Remote
"""A folder or file, on a disk or in a store."""


def is_url(path: object) -> bool:
    """Whether this names something in a store. ``file://`` does not."""
    return isinstance(path, Remote) or (isinstance(path, str) and bool(_SCHEME.match(path)) and not _local(path))


def place(path: str | Path | Remote) -> Place:
    """Where a path or URL leads; ``file://`` to the plain path, which is read as any other.

    Raises:
        UserError: for a kind of URL that is not opened, or whose package is not installed.
    """
    if isinstance(path, Remote):
        return path
    if isinstance(path, str) and is_url(path):
        remote = Remote(path)
        _check(remote)
        return remote
    return Path(unquote(urlsplit(path).path)) if isinstance(path, str) and _local(path) else Path(path)


def address(at: str | Place) -> str:
    """What leads there again, with its secrets: for options, and not for people to see."""
    return at.url if isinstance(at, Remote) else str(at)


def shown(text: str) -> str:
    """A path, a URL, or an override ``key=URL`` as people may see it."""
    key, mark, value = text.partition("=")
    if is_url(text):
        return str(Remote(text))
    return f"{key}={Remote(value)}" if mark and is_url(value) else text


def on_disk(path: str | Path, key: str) -> Path:
    """The path of what has to be on a disk.

    Raises:
        UserError: for a URL.
    """
    found = place(path)
    if isinstance(found, Remote):
        hint = "give a folder on a disk, and copy it to the store when it is finished"
        raise UserError("is a URL", file=str(found), key=key, hint=hint)
    return found


def _local(path: str) -> bool:
    return path.startswith(("file://", "local://"))


def _check(remote: Remote) -> None:
    """Raises a UserError for a kind of URL that is not opened, or whose package is not installed."""
    for name in remote._protocols:
        need(str(remote), "fsspec", *_MODULES.get(name, ()))
        from fsspec.registry import get_filesystem_class

        if name in _REFUSED:
            hint = "copy the shards to another store"
            raise UserError(f"{name}:// is not opened: it evaluates templates", file=str(remote), hint=hint)
        try:
            get_filesystem_class(name)
        except ValueError:
            known = "use http://, https://, s3:// or another one of fsspec's, or a path"
            raise UserError(f"{name}:// is not a store that is known", file=str(remote), hint=known) from None
        except ImportError as error:
            raise UserError(f"needs a package ({error})", file=str(remote), hint="install it") from error


def _options(protocol: str) -> dict[str, Any]:
    """How a store is asked: never for longer than :data:`STALL` without an answer. What fsspec's configuration files
    say comes first."""
    from fsspec.config import conf

    own: dict[str, dict[str, Any]] = {}
    if protocol in _WEB:
        import aiohttp

        own["client_kwargs"] = {
            "trust_env": True,  # ~/.netrc and proxies
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL),
        }
    elif protocol in ("s3", "s3a"):
        own["config_kwargs"] = {
            "connect_timeout": STALL,
            "read_timeout": STALL,
            "retries": {"total_max_attempts": 1},  # it is tried again here
        }
    theirs = conf.get(protocol, {})
    return {key: value | theirs.get(key, {}) for key, value in own.items()}
