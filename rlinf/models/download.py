"""Fetching published models by name, from Hugging Face or ModelScope."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Literal

from rlinf import installer
from rlinf.assets.hub import AGAIN, hub_endpoint, no_such_name, not_fetched, snapshot
from rlinf.config.problems import require_package
from rlinf.data.disk import FULL, refusals_told
from rlinf.errors import UserError

Source = Literal["hf", "modelscope"]


def download(name: str, folder: Path, source: Source, use_mirror: bool) -> Path:
    """Fetches OWNER/NAME into a folder; what is there already is not fetched again.

    Args:
        use_mirror: fetch from the mirror for users in mainland China; `HF_ENDPOINT` wins.

    Raises:
        UserError: if the name is unknown, or the hub cannot be reached.
    """
    if name.count("/") != 1 or name.startswith(("/", ".")) or name.endswith("/"):
        raise no_such_name(name)
    if source == "modelscope":
        _from_modelscope(name, folder)
    else:
        snapshot(name, folder, hub_endpoint(use_mirror))
    return folder


def _from_modelscope(name: str, folder: Path) -> None:
    require_package("modelscope", installer.command("--extra modelscope", "modelscope"))
    from modelscope import snapshot_download
    from modelscope_hub.errors import (
        AuthenticationError,
        FileDownloadError,
        HubError,
        NotExistError,
        PermissionDeniedError,
    )

    not_yours = (AuthenticationError, NotExistError, PermissionDeniedError)
    try:
        with refusals_told(name, folder, AGAIN, FULL):
            try:
                snapshot_download(name, local_dir=str(folder))
            except FileDownloadError as error:
                reasons = (e for failed in error.failed_files.values() for e in _chain(failed))
                refused = (e for e in reasons if isinstance(e, OSError) and e.errno in FULL)
                raise next(refused, error) from error
    # Answers of the hub are chained to an error of the transport, which is an OSError.
    except (HubError, OSError) as error:
        if isinstance(error, not_yours) or isinstance(error.__cause__, not_yours):
            raise UserError(
                f"ModelScope has no model {name} that you may read",
                "check the name; for one that is not public log in with: modelscope login",
            ) from error
        raise not_fetched(name, error) from error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    """An error and what led to it."""
    while error is not None:
        yield error
        error = error.__cause__ or error.__context__
