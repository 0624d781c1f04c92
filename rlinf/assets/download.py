"""Fetching assets from their official sources, without a question and without half a result.

A folder is filled beside its place and moved there when it is complete and its checksum right; a
download that was cut off leaves nothing that a run would take for the asset.
"""

from __future__ import annotations

import hashlib
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
import zipfile
import zlib
from collections.abc import Callable
from http.client import HTTPException
from pathlib import Path

from rlinf.assets.base import Archive, Asset, HubDataSet, Program
from rlinf.assets.hub import HUB, hub_endpoint, snapshot
from rlinf.data.disk import FULL, refusals_told
from rlinf.errors import UserError

GITHUB, GITHUB_MIRROR = "https://github.com", "https://ghfast.top/https://github.com"
_BLOCK = 1 << 20  # bytes
_TIMEOUT_S = 60.0  # without a single byte

Say = Callable[[str], None]


def require_no_licence(asset: Asset) -> None:
    """Refuses an asset that has to be fetched and whose licence has to be accepted before.

    Raises:
        UserError: says which licence, and how it is accepted.
    """
    source = asset.source
    if isinstance(source, Program) and source.licence and asset.missing():
        raise UserError(
            f"{asset.name} come under a licence: {source.licence}",
            "read it, then add --accept-license to the command if you accept it",
        )


def download(asset: Asset, use_mirror: bool, say: Say, accept_licence: bool = False) -> bool:
    """Brings an asset to its folder.

    Args:
        asset: what to fetch.
        use_mirror: fetch from the mirrors for users in mainland China; `HF_ENDPOINT` wins.
        say: shows a line to the user.
        accept_licence: the user accepts the asset's licence.

    Returns:
        Whether something had to be fetched.

    Raises:
        UserError: source not reachable, wrong checksum, no space or no right to write, files
            missing in what was fetched, or a licence that was not accepted.
    """
    if not asset.missing():
        say(f"{asset.name}: already in {asset.folder}")
        return False
    source = asset.source
    own = isinstance(source, Program)  # it has no mirrors
    if not accept_licence:
        require_no_licence(asset)
    say(f"{asset.name}: fetching into {asset.folder}")
    try:
        with refusals_told(asset.name, asset.folder, "make room and start again", FULL):
            asset.folder.parent.mkdir(parents=True, exist_ok=True)
            if isinstance(source, Program):
                _run(source)
            else:
                _bring(source, asset.folder, use_mirror, say)
    except OSError as error:
        raise UserError(
            f"{asset.name} could not be fetched into {asset.folder}: {error}",
            "check network, free space and the right to write there"
            + ("" if own else "; mirrors: rlinf assets download --use-mirror"),
        ) from error
    missing = asset.missing()
    if missing and own:
        raise UserError(
            f"{asset.name}: the simulator's own download has ended, and there is no file at "
            f"{missing[0]}",
            f"it may have left {asset.folder} as it was: remove that folder and start again",
        )
    if missing:
        raise UserError(
            f"{asset.name}: {asset.source} has no {missing[0].relative_to(asset.folder)}",
            "the source has changed; fetch an older version of it by hand",
        )
    return True


def _run(source: Program) -> None:
    """Runs the simulator's own command, which cannot ask anything.

    Raises:
        UserError: there is no such command.
        OSError: it failed.
    """
    try:
        ended = subprocess.run(source.command, stdin=subprocess.DEVNULL, check=False)
    except (FileNotFoundError, PermissionError) as error:
        raise UserError(
            f"{source.command[0]} does not exist, or is not executable", source.fix
        ) from error
    if ended.returncode != 0:
        raise OSError(f"{' '.join(source.command)} ended with exit code {ended.returncode}")


def _bring(source: Archive | HubDataSet, folder: Path, use_mirror: bool, say: Say) -> None:
    """Fetches into a folder beside the asset's, which then takes its place."""
    with tempfile.TemporaryDirectory(prefix=".download-", dir=folder.parent) as scratch:
        if isinstance(source, Archive):
            filled = _unpack(source, Path(scratch), use_mirror, say)
        else:
            filled = _snapshot(source, Path(scratch), use_mirror)
        _replace(folder, filled)


def address(url: str, use_mirror: bool) -> str:
    """`url`, or where a mirror has it."""
    if url.startswith(HUB):
        return hub_endpoint(use_mirror) + url.removeprefix(HUB)
    if use_mirror and url.startswith(GITHUB):
        return GITHUB_MIRROR + url.removeprefix(GITHUB)
    return url


def _unpack(source: Archive, scratch: Path, use_mirror: bool, say: Say) -> Path:
    """Fetches and unpacks a zip; returns the folder with its content."""
    file, content = scratch / "archive.zip", scratch / "content"
    url = address(source.url, use_mirror)
    say(f"  {url}")
    digest = _fetch(url, file)
    if source.sha256 is not None and digest != source.sha256:
        raise UserError(
            f"{url} has checksum {digest}, expected {source.sha256}",
            "try again; if it stays so, the file was replaced at its source",
        )
    try:
        with zipfile.ZipFile(file) as archive:
            archive.extractall(content)  # refuses paths that lead outside
    except zipfile.BadZipFile as error:
        raise OSError(f"{url} is not a zip file") from error
    except (zlib.error, EOFError) as error:
        raise OSError(f"{url} is a damaged zip file: {error}") from error
    if source.inside:
        if not (content / source.inside).is_dir():
            raise OSError(f"{url} has no folder {source.inside}")
        return content / source.inside
    inside = list(content.iterdir())
    return inside[0] if len(inside) == 1 and inside[0].is_dir() else content


def _fetch(url: str, file: Path) -> str:
    """Downloads to a file; returns its SHA-256.

    Raises:
        OSError: it did not arrive, or not all of it.
    """
    digest, arrived = hashlib.sha256(), 0
    try:
        with urllib.request.urlopen(url, timeout=_TIMEOUT_S) as answer, file.open("wb") as out:
            announced = answer.headers.get("Content-Length")
            while block := answer.read(_BLOCK):
                digest.update(block)
                arrived += len(block)
                out.write(block)
    except urllib.error.URLError as error:
        raise OSError(f"{url}: {error.reason}") from error
    except HTTPException as error:  # no OSError: a connection cut inside a chunk, for example
        raise OSError(f"{url}: the connection broke after {arrived:,} bytes") from error
    # Reading block by block, a connection that is cut looks like the end of the file.
    if announced is not None and arrived < int(announced):
        raise OSError(f"{url}: the connection broke after {arrived:,} of {int(announced):,} bytes")
    return digest.hexdigest()


def _snapshot(source: HubDataSet, scratch: Path, use_mirror: bool) -> Path:
    """Fetches a data set of the hub, or a folder of one; returns the folder with its content."""
    content = scratch / "content"  # with the umask's rights, unlike a temporary folder
    snapshot(source.repo, content, hub_endpoint(use_mirror), "dataset", source.inside)
    filled = content / source.inside
    if not filled.is_dir():
        raise OSError(f"the data set {source.repo} has no folder {source.inside}")
    return filled


def _replace(folder: Path, filled: Path) -> None:
    """Puts a complete folder in its place; what was there before goes only then."""
    old = filled.parent / ".old"
    if folder.exists():
        folder.rename(old)
    filled.rename(folder)
    if old.exists():
        shutil.rmtree(old)
