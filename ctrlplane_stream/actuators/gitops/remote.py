"""The two things asked of a remote repository: its branch as it is, and a commit on top of the head that was looked at.

HTTPS and HTTP are spoken by dulwich itself, with the token of the settings, else what ``git credential fill`` gives, as
git would use. SSH runs the ``ssh`` of this machine, with its keys and configuration. Paths and ``file://`` run git's own
``upload-pack`` and ``receive-pack``, so that the repository's hooks run: dulwich's own way past them is not used.
Never forced: the server compares the head that we saw with the one it has.
"""

import os
import shutil
import subprocess
from collections.abc import Mapping, Sequence
from urllib.parse import urlparse

import urllib3
from dulwich.client import (
    GitClient,
    HttpGitClient,
    HTTPUnauthorized,
    SubprocessGitClient,
    default_urllib3_manager,
    get_transport_and_path,
)
from dulwich.config import StackedConfig
from dulwich.errors import GitProtocolError, HangupException, NotGitRepository, SendPackError
from dulwich.objects import ObjectID, ShaFile
from dulwich.pack import UnpackedObject, pack_objects_to_data
from dulwich.refs import Ref
from dulwich.repo import Repo

from ctrlplane_stream.actuators.gitops.placement import Repository
from ctrlplane_stream.actuators.port import WorldUnreachable

_SECONDS = 15.0
_SSH = f"ssh -o BatchMode=yes -o ConnectTimeout={_SECONDS:.0f} -o ServerAliveInterval=5 -o ServerAliveCountMax=3"
_TOKEN_USER = "x-access-token"  # what GitHub and GitLab take beside a token; others ignore the name
_LOOPBACK = ("127.0.0.1", "::1", "localhost")
_TROUBLE = (OSError, GitProtocolError, HangupException, NotGitRepository, SendPackError, HTTPUnauthorized, urllib3.exceptions.HTTPError)
_MOVED = (
    "non-fast-forward",
    "fetch first",
    "failed to update ref",
    "incorrect old value",
    "cannot lock ref",
    "failed to lock",
    "stale info",
)


class BranchMoved(Exception):
    """Somebody pushed since we looked: nothing of ours was taken; look again."""


class PushRefused(Exception):
    """The repository's own rules refused the commit (a hook, a protected branch, no right to write); in its words."""


class Remote:
    """One branch of one repository. Synchronous; one call at a time."""

    def __init__(self, repository: Repository, token: str = "") -> None:
        self.repository = repository
        self._token = token
        self._ref = Ref(b"refs/heads/" + repository.branch.encode())

    def fetch(self, into: Repo) -> ObjectID | None:
        """The branch's head, with everything that it needs; None where there is no such branch. Raises WorldUnreachable."""

        def missing(refs: Mapping[Ref, ObjectID], depth: int | None = None) -> list[ObjectID]:
            return [head for name, head in refs.items() if name == self._ref and head not in into.object_store]

        client, path = self._client()
        with _Reached(self.repository.url):
            result = client.fetch(path.encode(), into, missing, ref_prefix=[self._ref])
        head = result.refs.get(self._ref)
        if head is not None:
            into.refs[self._ref] = head
        return head

    def push(self, seen: ObjectID, commit: ObjectID, objects: Sequence[ShaFile]) -> None:
        """Make ``commit`` the head in place of ``seen``. Raises BranchMoved, PushRefused and WorldUnreachable."""
        said: list[bytes] = []

        def update(refs: dict[Ref, ObjectID]) -> dict[Ref, ObjectID]:
            if refs.get(self._ref) != seen:
                raise BranchMoved
            return {self._ref: commit}

        def pack(have: object, want: object, **_: object) -> tuple[int, "Sequence[UnpackedObject]"]:
            count, data = pack_objects_to_data(objects)
            return count, list(data)

        client, path = self._client()
        with _Reached(self.repository.url):
            result = client.send_pack(path.encode(), update, pack, progress=said.append)  # type: ignore[arg-type]
        if result.ref_status is None:
            raise WorldUnreachable(f"{self.repository.url} does not say whether it took the commit; it is looked at again")
        wrong = result.ref_status.get(self._ref)
        if wrong is None:
            return
        if any(sign in wrong for sign in _MOVED):
            raise BranchMoved
        raise PushRefused(_in_words(wrong, said))

    def _client(self) -> tuple[GitClient, str]:
        url = self.repository.url
        parts = urlparse(url)
        if parts.scheme == "file" or url.startswith("/"):
            return SubprocessGitClient(), parts.path if parts.scheme == "file" else url
        config = StackedConfig.default()
        if parts.scheme in ("http", "https"):
            user, password = self._credentials(url)
            pool = default_urllib3_manager(config, base_url=url, timeout=_SECONDS)
            assert isinstance(pool, urllib3.PoolManager)
            return HttpGitClient.from_parsedurl(parts, config=config, username=user, password=password, pool_manager=pool), parts.path
        return get_transport_and_path(url, config=config, ssh_command=os.environ.get("GIT_SSH_COMMAND", _SSH))

    def _credentials(self, url: str) -> tuple[str | None, str | None]:
        parts = urlparse(url)
        if self._token and parts.scheme == "http" and parts.hostname not in _LOOPBACK:
            raise WorldUnreachable(f"{url} is not asked, since the token would cross the network unencrypted: use https://")
        if self._token:
            return _TOKEN_USER, self._token
        return _from_git(url)


def _from_git(url: str) -> tuple[str | None, str | None]:
    """User and password as git's credential helpers have them; none where there is no git, or it knows none."""
    git = shutil.which("git")
    if git is None:
        return None, None
    quiet = {**os.environ, "GIT_TERMINAL_PROMPT": "0", "GIT_ASKPASS": "true", "SSH_ASKPASS": "true"}
    ask, question = [git, "credential", "fill"], f"url={url}\n\n".encode()
    try:
        asked = subprocess.run(ask, input=question, capture_output=True, env=quiet, timeout=_SECONDS, check=False)
    except (OSError, subprocess.TimeoutExpired):
        return None, None
    found = dict(line.split("=", 1) for line in asked.stdout.decode(errors="replace").splitlines() if "=" in line)
    return (found["username"], found["password"]) if asked.returncode == 0 and found.get("password") else (None, None)


class _Reached:
    """Turns what a transport raises into WorldUnreachable, with the address and what to check."""

    def __init__(self, url: str) -> None:
        self._url = url

    def __enter__(self) -> None:
        return None

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        if isinstance(error, HTTPUnauthorized):
            remedy = "set CTRLPLANE_GITOPS_TOKEN, or give git's credential helper what it needs"
            raise WorldUnreachable(f"{self._url} does not let us in: {remedy}") from error
        if isinstance(error, _TROUBLE):
            raise WorldUnreachable(
                f"{self._url} cannot be reached: {str(error) or type(error).__name__}; are address and access right?"
            ) from error


def _in_words(wrong: str, said: Sequence[bytes]) -> str:
    """The server's refusal with what its hooks printed, on one line."""
    printed = " ".join(b"".join(said).decode(errors="replace").split())
    return f"the repository refused the commit: {wrong}" + (f" ({printed[:300]})" if printed else "")
