"""Gets the published files of a card, from the Hugging Face hub or from a folder. Only here is anything fetched.

Files come into ``NAME.part`` and are verified one by one; the folder gets its name when all are there. The listing, the
token and the connection are those of huggingface_hub. The bytes are received here, because that library has given up
resuming: what it fetches lies in a file of its own for each attempt, which is removed when the attempt fails.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import hashlib
import os
import re
import shutil
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from pomnit.errors import DiskFull, EngineError, EngineMissing, ModelDamaged, UsageError
from pomnit.models import hub
from pomnit.models.cards import INDEX, PICKLED, WEIGHTS, Card

if TYPE_CHECKING:
    from huggingface_hub.hf_api import ModelInfo

Progress = Callable[[int, int, str], None]
"""Takes the bytes that are here, the bytes of all files, and the name of the file that is coming."""

_ENDPOINT = "https://huggingface.co"
_COMMIT = re.compile(r"[0-9a-f]{40}")
_CHUNK = 1 << 20
_LISTING_S = 20


@dataclass(frozen=True, slots=True)
class Pulled:
    """A folder with the published files of a card."""

    folder: Path
    revision: str  # the commit of the repository, "" when a folder did not tell it
    pinned: bool  # the card named that commit beforehand
    size_bytes: int
    fresh: bool  # False: it was here already


@dataclass(frozen=True, slots=True)
class _Remote:
    """A file as the hub lists it."""

    name: str
    size: int
    sha256: str | None  # of a large file
    blob: str | None  # git's digest of a small one

    @property
    def partial(self) -> str:
        """The name of the file while it is coming; another content has another."""
        return f"{self.name}.{(self.sha256 or self.blob or 'unknown')[:16]}.partial"


def pull(card: Card, models: Path, *, folder: Path | None = None, on_progress: Progress | None = None) -> Pulled:
    """Gives the folder of the card in ``models``, its files fetched from the hub, or copied from ``folder``.

    What an earlier attempt got is kept and verified; nothing is done when all is here. The environment variables of
    huggingface_hub hold: HF_ENDPOINT, HF_TOKEN and others.

    Raises:
        EngineMissing: no network, or the hub has no such files; says which are missing and how to get them by hand.
        ModelDamaged: a file is not what it should be; it is removed, the others stay.
        DiskFull: with the bytes needed and free.
        UsageError: another process pulls the same model.
    """
    target, tell = models / card.name, on_progress or (lambda *_: None)
    try:
        with _alone(card, models):
            if (present := _present(card, target)) is not None:
                return present
            if folder is not None and folder.exists() and target.exists() and folder.samefile(target):
                raise UsageError(f"{folder} is where the files shall come to, and is not whole; name another folder")
            part = _part(target)
            if folder is None:
                revision, digests = _Download(card, part, tell).run()
            else:
                revision, digests = _copied(card, part, folder, tell)
            return _finished(card, part, target, revision, digests)
    except KeyboardInterrupt as stop:
        stop.add_note(f"what came is kept; to go on, type: pomnit models pull {card.name}")
        raise
    except OSError as error:
        if error.errno in (errno.ENOSPC, errno.EDQUOT):
            again = f"make room and type: pomnit models pull {card.name}"
            raise DiskFull(f"{models}: the disk is full; what came is kept; {again}") from error
        raise EngineError(f"{error.filename or models}: {error.strerror or error}") from error


@contextlib.contextmanager
def _alone(card: Card, models: Path) -> Iterator[None]:
    """Keeps other processes from pulling the same model for as long as the block runs."""
    from pomnit.store.disk import make_private  # its package brings NumPy

    make_private(models)
    with (models / f".{card.name}.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            raise UsageError(f"another process is pulling {card.name} now; wait for it, or stop it") from None
        yield


def _present(card: Card, target: Path) -> Pulled | None:
    """Gives what is here already, every byte verified; None when it is not here, or not what it should be."""
    if not target.is_dir():
        return None
    try:
        hub.published(card, target.parent, None, target)
        manifest = hub.read_manifest(target)
    except (EngineMissing, ModelDamaged):
        return None
    revision = manifest.revision if manifest else ""
    return Pulled(target, revision, revision == card.revision, _size(target), fresh=False)


def _part(target: Path) -> Path:
    """Gives the folder to work in; what is of use in an unfinished or damaged ``target`` goes into it."""
    part = target.with_name(f"{target.name}{hub.PART}")
    if target.is_dir() and not target.is_symlink() and not part.exists():
        target.rename(part)
    part.mkdir(exist_ok=True)
    (part / hub.MANIFEST).unlink(missing_ok=True)
    return part


def _finished(card: Card, part: Path, target: Path, revision: str, digests: dict[str, str]) -> Pulled:
    for partial in part.glob("*.partial"):
        partial.unlink()
    hub.write_manifest(
        part,
        card=card.name,
        repository=card.repository,
        revision=revision,
        form="published",
        bits=None,
        made_from=None,
        known=digests,
    )
    hub.put_in_place(part, target)
    return Pulled(target, revision, revision == card.revision, _size(target), fresh=True)


def _size(folder: Path) -> int:
    return sum(path.stat().st_size for path in folder.iterdir() if path.is_file())


def _check_room(card: Card, part: Path, needed: int) -> None:
    free = shutil.disk_usage(part).free
    if needed > free:
        raise DiskFull(
            f"{card.name} needs {needed / 1e6:,.0f} MB more in {part.parent}, and {free / 1e6:,.0f} MB are free; make"
            f" room, or name a folder on another disk: models = … in settings.toml"
        )


# -------------------------------------------------------------------------------------------------- from a folder


def _copied(card: Card, part: Path, folder: Path, tell: Progress) -> tuple[str, dict[str, str]]:
    """Gives the revision, "" when unknown, and the sha256 of each file after copying them from ``folder``."""
    manifest = hub.read_manifest(folder)
    if manifest is not None and (manifest.card, manifest.form) != (card.name, "published"):
        raise UsageError(f"{folder} holds {manifest.card} ({manifest.form}), not {card.name} as published")
    names, absent = hub.published_names(card, folder)
    if absent:
        raise EngineMissing(f"{card.name}: {folder} lacks {', '.join(absent)}; {_page(card, _ENDPOINT)} has them")
    wanted = dict(card.digests)
    if manifest is not None:
        wanted |= {name: entry.sha256 for name, entry in manifest.files.items()}
    total = sum((folder / name).stat().st_size for name in names)
    _check_room(card, part, total)
    digests: dict[str, str] = {}
    done = 0
    for name in names:
        tell(done, total, name)
        partial = part / f"{name}.copied.partial"
        sha256 = hashlib.sha256()
        with (folder / name).open("rb") as source, partial.open("wb") as copy:
            while chunk := source.read(_CHUNK):
                sha256.update(chunk)
                copy.write(chunk)
                done += len(chunk)
                tell(done, total, name)
        digests[name] = sha256.hexdigest()
        if digests[name] != wanted.get(name, digests[name]):
            partial.unlink()
            raise ModelDamaged(f"{folder / name}: its sha256 is {digests[name]}, it should be {wanted[name]}")
        partial.replace(part / name)
    if manifest is not None:
        return manifest.revision, digests
    weights = [name for name in names if name.endswith((".safetensors", ".bin"))]
    return card.revision if weights and all(name in card.digests for name in weights) else "", digests


def _page(card: Card, endpoint: str) -> str:
    return f"{endpoint}/{card.repository}/tree/{card.revision}"


# --------------------------------------------------------------------------------------------------- from the hub


class _Download:
    """One attempt at the files of a card."""

    def __init__(self, card: Card, part: Path, tell: Progress) -> None:
        # Without this the library would ask the hub, before anything else, for a list of programs that may be using
        # it, and would tell it which of them does.
        from huggingface_hub import constants, get_token

        constants.HF_HUB_DISABLE_TELEMETRY = True
        token = get_token()
        self._card, self._part, self._tell_all = card, part, tell
        self._endpoint = (os.environ.get("HF_ENDPOINT") or _ENDPOINT).rstrip("/")
        self._headers = {"Accept-Encoding": "identity"} | ({"Authorization": f"Bearer {token}"} if token else {})
        self._listed: dict[str, _Remote] = {}
        self._names = list(card.files)
        self._commit = card.revision
        self._told = 0

    def run(self) -> tuple[str, dict[str, str]]:
        """Gives the commit and the sha256 of each file, after fetching those that are not here."""
        with self._errors():
            self._list()
            if INDEX in self._names:
                self._get(self._listed[INDEX], lambda _: None)
                self._add_shards()
            files = [self._listed[name] for name in self._names]
            total, done = sum(file.size for file in files), 0
            _check_room(self._card, self._part, total - sum(self._here(file) for file in files))
            digests = {}
            for file in files:

                def tell(here: int, *, before: int = done, name: str = file.name) -> None:
                    # a server that does not resume sends a file anew: what was told is not taken back
                    self._told = max(self._told, before + here)
                    self._tell_all(self._told, total, name)

                digests[file.name] = self._get(file, tell)
                done += file.size
                tell(file.size)
        return self._commit, digests

    def _list(self) -> None:
        """Learns commit, sizes and digests, and which of the files there are."""
        from huggingface_hub import HfApi

        api = HfApi(endpoint=self._endpoint, library_name="pomnit")
        try:
            info = api.model_info(
                self._card.repository, revision=self._card.revision, files_metadata=True, timeout=_LISTING_S
            )
            self._read_listing(info)
        except (ValueError, TypeError, KeyError, AttributeError) as error:
            raise EngineMissing(f"{self._endpoint} does not answer as the hub does ({error}); {self._help()}") from None
        absent = [name for name in self._names if name not in self._listed]
        if absent:
            page = _page(self._card, self._endpoint)
            raise EngineMissing(f"{self._card.name}: {page} has no {', '.join(absent)}")

    def _read_listing(self, info: ModelInfo) -> None:
        if not _COMMIT.fullmatch(info.sha or ""):
            raise ValueError(f"commit {info.sha!r:.60}")
        if _COMMIT.fullmatch(self._card.revision) and info.sha != self._card.revision:
            raise ValueError(f"commit {info.sha} for {self._card.revision}")
        self._commit = str(info.sha)
        for sibling in info.siblings or []:
            sha256 = sibling.lfs.sha256 if sibling.lfs else None
            if hub.plain_name(sibling.rfilename) and isinstance(sibling.size, int):
                remote = _Remote(sibling.rfilename, sibling.size, sha256, sibling.blob_id)
                self._listed[remote.name] = remote
        forms = (WEIGHTS, INDEX, PICKLED)
        other = next((name for name in forms if name in self._listed), None)
        # a repository may have its weights in another form than the card says, at a commit that nobody pinned
        self._names = [
            other if other and name in forms and name not in self._listed else name for name in self._card.files
        ]

    def _add_shards(self) -> None:
        try:
            names = hub.shards(self._part / INDEX)
        except ModelDamaged:
            (self._part / INDEX).unlink()
            raise
        if absent := [name for name in names if name not in self._listed]:
            raise EngineMissing(f"{self._card.repository} lists no {', '.join(absent)}, which its {INDEX} names")
        self._names += names

    def _here(self, file: _Remote) -> int:
        """Gives how many bytes of a file need not be fetched."""
        return next(
            (path.stat().st_size for name in (file.name, file.partial) if (path := self._part / name).is_file()), 0
        )

    def _get(self, file: _Remote, tell: Callable[[int], None]) -> str:
        """Gives the sha256 of a file, after fetching what is missing of it."""
        path, partial = self._part / file.name, self._part / file.partial
        if path.is_file():
            with contextlib.suppress(ModelDamaged):
                return self._verified(file, path)
        tell(0)
        self._receive(file, partial, tell)
        sha256 = self._verified(file, partial)
        partial.replace(path)
        return sha256

    def _verified(self, file: _Remote, path: Path) -> str:
        """Gives the sha256 of a file that is what card and hub say; another one is removed."""
        sha256 = hub.sha256_of(path)
        wrong = [
            f"{who} says {wanted}"
            for who, wanted in (("its card", self._card.digests.get(file.name)), ("the hub", file.sha256))
            if wanted and wanted != sha256
        ]
        if not file.sha256 and file.blob and file.blob != _git_blob(path):
            wrong.append(f"the hub's git says {file.blob}")
        if wrong or path.stat().st_size != file.size:
            path.unlink()
            raise ModelDamaged(
                f"{file.name} of {self._card.name}: its sha256 is {sha256}, {' and '.join(wrong) or 'too short'}; it"
                f" was removed, the other files are kept; type: pomnit models pull {self._card.name}"
            )
        return sha256

    def _receive(self, file: _Remote, partial: Path, tell: Callable[[int], None]) -> None:
        """Receives a file from where it stopped, again and again for as long as each time something comes."""
        import httpx2

        partial.touch()
        while (before := partial.stat().st_size) < file.size:
            cut: httpx2.TransportError | None = None
            try:
                self._receive_from(file, partial, before, tell)
            except httpx2.TransportError as error:
                cut = error
            if partial.stat().st_size <= before:
                raise cut or httpx2.RemoteProtocolError("the answer ended early")

    def _receive_from(self, file: _Remote, partial: Path, start: int, tell: Callable[[int], None]) -> None:
        from huggingface_hub import constants, get_session, hf_hub_url, hf_raise_for_status

        url = hf_hub_url(self._card.repository, file.name, revision=self._commit, endpoint=self._endpoint)
        headers = self._headers | ({"Range": f"bytes={start}-"} if start else {})
        timeout = constants.HF_HUB_DOWNLOAD_TIMEOUT
        with get_session().stream("GET", url, headers=headers, timeout=timeout) as answer:
            hf_raise_for_status(answer)
            resumed = answer.status_code == 206
            with partial.open("ab" if resumed else "wb") as target:
                here = start if resumed else 0
                for chunk in answer.iter_bytes():
                    target.write(chunk[: file.size - here])
                    here += len(chunk)
                    if here > file.size:
                        raise ModelDamaged(f"{url} sends more than the {file.size} bytes that the hub lists")
                    tell(here)

    # What is said when it fails

    @contextlib.contextmanager
    def _errors(self) -> Iterator[None]:
        import httpx2
        from huggingface_hub.errors import HfHubHTTPError, OfflineModeIsEnabled

        try:
            yield
        except HfHubHTTPError as error:
            raise EngineMissing(f"{self._refusal(error.response.status_code)}; {self._help()}") from None
        except (httpx2.HTTPError, httpx2.InvalidURL, OfflineModeIsEnabled) as error:
            why = f"{self._endpoint} cannot be reached ({str(error) or type(error).__name__})"
            raise EngineMissing(f"{self._card.name}: {why}; {self._help()}") from None

    def _refusal(self, status: int) -> str:
        page = _page(self._card, self._endpoint)
        if status in (401, 403):
            return f"{page} is not open to everybody, or is gone ({status}); a token in HF_TOKEN may open it"
        if status == 404:
            return f"{page} does not exist (404)"
        return f"{page}: the hub refuses now ({status})"

    def _help(self) -> str:
        """Gives which files are missing, where they are, and where to put them by hand."""
        missing = []
        for name in self._names:
            file = self._listed.get(name)
            if not (self._part / name).is_file():
                missing.append(f"{name} ({file.size / 1e6:,.1f} MB)" if file else name)
        folder = self._part.with_name(self._card.name)
        return (
            f"missing: {', '.join(missing)}; get them from {_page(self._card, self._endpoint)} on any machine and put"
            f" all files into {folder}, or type: pomnit models pull {self._card.name} --from FOLDER"
        )


def _git_blob(path: Path) -> str:
    sha1 = hashlib.sha1(f"blob {path.stat().st_size}\0".encode(), usedforsecurity=False)
    with path.open("rb") as file:
        while chunk := file.read(_CHUNK):
            sha1.update(chunk)
    return sha1.hexdigest()
