"""Files of a store by URL: ``http(s)://``, ``s3://``, and any other that fsspec opens. No URL executes code.

Credentials are each store's usual ones: AWS's environment and files, ``~/.netrc`` or ``https://user:password@...``,
fsspec's own configuration files. Errors, tables and notes never show a password or a query, which may hold a token.

Requests that fail because of the network are retried with growing pauses; failures that a retry cannot mend (a missing
file, refused credentials) are not. Either ends in an error that names the file.
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

from shards.arguments import check_path
from shards.errors import UserError
from shards.extras import need
from shards.faults import Damaged, describe, diagnose

Result = TypeVar("Result")

PAUSES = [0.5, 1.0, 2.0, 4.0, 8.0]
"""Seconds between attempts, each shortened by a random part so that ranks do not retry at the same time."""
STALL = 30.0
"""Seconds without a byte after which a connection is abandoned."""
UNSIZED = 1 << 30
"""Bytes that a file has at most whose size is not known in advance: an index."""
_SCHEME = re.compile(r"(?:[A-Za-z][A-Za-z0-9+.-]*::)*[A-Za-z][A-Za-z0-9+.-]*://")
_WEB = ("http", "https")
_MODULES = {"http": ("aiohttp",), "https": ("aiohttp",), "s3": ("s3fs",), "s3a": ("s3fs",)}
"""Packages that a protocol needs besides fsspec, which torch depends on. For others, fsspec's error names them."""
_OBJECTS = ("s3", "s3a", "gs", "gcs", "az", "abfs", "adl", "oss", "oci", "tos", "memory")
"""Stores in which a file appears only once it is complete."""
_REFUSED = ("reference",)
"""Protocols that are refused: fsspec evaluates templates that their files hold."""
_DISK = (errno.ENOSPC, errno.EDQUOT, errno.EROFS)
_COPY = "copy it to the store again"
_SERVER = "look at the store, and start the same command again"


class Missing(UserError):
    """A file does not exist in a store."""


@dataclass(frozen=True, repr=False)
class Remote:
    """A file or folder of a store. ``/`` joins names as it does for paths; ``str()`` and ``repr()`` omit secrets."""

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

    def __repr__(self) -> str:
        return f"Remote({str(self)!r})"

    @property
    def _protocols(self) -> list[str]:
        """Protocols of the file and, in a chained URL, of its containers (``zip://FOLDER::s3://BUCKET/FILE.zip``)."""
        return re.findall(r"(?:^|::)([A-Za-z][A-Za-z0-9+.-]*)(?=:)", self.url)

    @property
    def protocol(self) -> str:
        return self._protocols[0]

    def read_bytes(self, check: Callable[[bytes], None] = lambda data: None) -> bytes:
        """Read a small file.

        Args:
            check: raises :class:`shards.faults.Damaged` for bytes that are not those of the file.

        Raises:
            Missing: when it does not exist.
            UserError: when it cannot be read, or does not pass the check each time.
        """

        def read(files: Any, name: str) -> bytes:
            data: bytes = files.cat_file(name)
            check(data)
            return data

        return self._retry(read)

    def exists(self) -> bool:
        """Whether a small file exists. It is read to find out, since not every web server answers other requests.

        Raises:
            UserError: when the store cannot be read.
        """
        try:
            self.read_bytes()
        except Missing:
            return False
        return True

    def size(self) -> int | None:
        """Return the size of a file in bytes; None where the store does not report it.

        Raises:
            Missing: when it does not exist.
            UserError: when the store does not answer.
        """
        return self._retry(lambda files, name: files.info(name).get("size"))

    def fetch(self, path: Path, sha256: str, size: int | None = None) -> None:
        """Download the file to a path and verify its hash.

        Raises:
            Missing: when it does not exist.
            UserError: when it cannot be read, or arrives with other bytes each time.
            OSError: when the disk of the path is full or cannot be written.
        """

        def stop(total: int | None, arrived: int, **_: Any) -> None:
            if size is None and arrived > UNSIZED:
                raise Damaged(f"more than {UNSIZED} bytes arrive", _COPY)
            if size is not None and arrived > size:  # the cache has reserved no more room
                raise Damaged(f"more bytes arrive than the {size} that the manifest says", _COPY)

        def get(files: Any, name: str) -> None:
            from fsspec.callbacks import Callback

            files.get_file(name, str(path), callback=Callback(hooks={"stop": stop}))
            arrived = path.stat().st_size
            if size is not None and arrived != size:
                raise Damaged(f"{arrived} bytes arrived, where the manifest says {size}", _COPY)
            with path.open("rb") as file:
                if hashlib.file_digest(file, "sha256").hexdigest() != sha256:
                    raise Damaged("the bytes that arrive differ from the sha256 that the manifest names", _COPY)

        self._retry(get)

    def check_writable(self) -> None:
        """Raise a UserError for a store that is read-only."""
        if self.protocol in _WEB:
            hint = "give a folder, or s3:// or another store that can be written"
            raise UserError("cannot be written: a web server only serves files", file=str(self), hint=hint)

    def put(self, path: Path) -> None:
        """Write a local file to the store, completely or not at all.

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
            if (stored := files.info(name).get("size")) not in (None, path.stat().st_size):
                raise Damaged(f"{stored} bytes were stored, where {path.stat().st_size} were written")

        self._retry(put, "written")

    def _retry(self, call: Callable[[Any, str], Result], done: str = "read") -> Result:
        _check(self)
        from fsspec.core import url_to_fs

        options = {name: _options(name) for name in self._protocols}
        for pause in [*PAUSES, None]:
            try:
                arguments = options if len(options) > 1 else options[self.protocol]
                files, name = url_to_fs(self.url, **arguments)
                return call(files, name)
            except UserError:
                raise
            except Exception as error:
                if isinstance(error, OSError) and error.errno in _DISK:
                    raise
                missing, hint = diagnose(error)
                if missing and done == "written":
                    missing, hint = False, "make the bucket or folder, or correct the URL"
                if missing or hint:
                    kind, message = (Missing, "is missing") if missing else (UserError, f"cannot be {done}")
                    reason = "" if missing else f" ({self._reason(error)})"
                    raise kind(message + reason, file=str(self), hint=hint or _COPY) from error
                if pause is None:
                    message = f"cannot be {done}, {len(PAUSES) + 1} times in a row ({self._reason(error)})"
                    hint = error.hint if isinstance(error, Damaged) else None
                    raise UserError(message, file=str(self), hint=hint or _SERVER) from error
                time.sleep(pause * (0.5 + random.random() / 2))
        raise AssertionError("unreachable")

    def _reason(self, error: BaseException) -> str:
        parts = urlsplit(self.url)
        return describe(error, (parts.query, parts.password))


Place = Path | Remote
"""A folder or file on a disk or in a store."""


def is_url(path: object) -> bool:
    """Whether this is a URL of a store. ``file://`` is not."""
    return isinstance(path, Remote) or (isinstance(path, str) and bool(_SCHEME.match(path)) and not _local(path))


def place(path: str | Path | Remote) -> Place:
    """Return the place that a path or URL names; ``file://`` becomes a plain path.

    Raises:
        UserError: for a protocol that is not supported, or whose package is not installed.
    """
    if isinstance(path, Remote):
        return path
    if isinstance(path, str) and is_url(path):
        remote = Remote(path)
        _check(remote)
        return remote
    return Path(unquote(urlsplit(path).path)) if isinstance(path, str) and _local(path) else Path(path)


def address(at: str | Place) -> str:
    """Return the path or the full URL with its secrets: for options, not for display."""
    return at.url if isinstance(at, Remote) else str(at)


def redact(text: str) -> str:
    """Return a path, a URL, or an override ``key=URL`` without secrets, for display."""
    key, mark, value = text.partition("=")
    if is_url(text):
        return str(Remote(text))
    return f"{key}={Remote(value)}" if mark and is_url(value) else text


def check_place(key: str, value: object) -> None:
    """Make sure that an argument is a path, a URL or a :class:`Remote`.

    Raises:
        UserError: naming the argument.
    """
    if not isinstance(value, Remote):
        check_path(key, value)


def on_disk(path: str | Path, key: str) -> Path:
    """Return the path of a folder or file that has to be on a disk.

    Raises:
        UserError: for a URL, and for what is no path.
    """
    check_place(key, path)
    location = place(path)
    if isinstance(location, Remote):
        hint = "give a folder on a disk, and copy it to the store when it is finished"
        raise UserError("is a URL", file=str(location), key=key, hint=hint)
    return location


def _local(path: str) -> bool:
    return path.startswith(("file://", "local://"))


def _check(remote: Remote) -> None:
    """Raise a UserError for a protocol that is not supported, or whose package is not installed."""
    for name in remote._protocols:
        need(str(remote), "fsspec", *_MODULES.get(name, ()))
        from fsspec.registry import get_filesystem_class

        if name in _REFUSED:
            hint = "copy the shards to another store"
            raise UserError(f"{name}:// is not opened: it evaluates templates", file=str(remote), hint=hint)
        try:
            get_filesystem_class(name)
        except ValueError:
            hint = "use http://, https://, s3:// or another one of fsspec's, or a path"
            raise UserError(f"{name}:// is not a known store", file=str(remote), hint=hint) from None
        except ImportError as error:
            raise UserError(f"needs a package ({error})", file=str(remote), hint="install it") from error


def _options(protocol: str) -> dict[str, Any]:
    """Return fsspec's options for a protocol, with a timeout of :data:`STALL`. Values of fsspec's configuration files
    take precedence."""
    from fsspec.config import conf

    options: dict[str, dict[str, Any]] = {}
    if protocol in _WEB:
        import aiohttp

        options["client_kwargs"] = {
            "trust_env": True,  # ~/.netrc and proxies
            "timeout": aiohttp.ClientTimeout(total=None, sock_connect=STALL, sock_read=STALL),
        }
    elif protocol in ("s3", "s3a"):
        options["config_kwargs"] = {
            "connect_timeout": STALL,
            "read_timeout": STALL,
            "retries": {"total_max_attempts": 1},  # retries are made here
        }
    configured = conf.get(protocol, {})
    return {key: value | configured.get(key, {}) for key, value in options.items()}
