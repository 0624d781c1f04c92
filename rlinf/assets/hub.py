"""The Hugging Face hub: what its client raises becomes one sentence and a fix."""

from __future__ import annotations

import os
from http import HTTPStatus
from pathlib import Path
from typing import Literal

from rlinf.data.disk import FULL, refusals_told
from rlinf.errors import UserError

HUB, HUB_MIRROR = "https://huggingface.co", "https://hf-mirror.com"
AGAIN = "make room and start again: complete files are kept"
_NOT_YOURS = (HTTPStatus.UNAUTHORIZED, HTTPStatus.FORBIDDEN, HTTPStatus.NOT_FOUND)


def hub_endpoint(use_mirror: bool) -> str:
    """Address of the Hugging Face hub; `HF_ENDPOINT` wins.

    Raises:
        UserError: `HF_ENDPOINT` is no address.
    """
    endpoint = os.environ.get("HF_ENDPOINT") or (HUB_MIRROR if use_mirror else HUB)
    if not endpoint.startswith(("http://", "https://")):
        raise UserError(
            f"HF_ENDPOINT = {endpoint}: an address begins with http:// or https://",
            f"export HF_ENDPOINT=https://{endpoint}",
        )
    return endpoint.rstrip("/")


def snapshot(
    name: str,
    folder: Path,
    endpoint: str,
    kind: Literal["model", "dataset"] = "model",
    inside: str = "",
) -> None:
    """Fetches a repository; files that are complete already are not fetched again.

    Args:
        name: OWNER/NAME.
        folder: where to.
        endpoint: address of the hub.
        kind: of the repository.
        inside: folder of the repository; only this one is fetched. Empty fetches all.

    Raises:
        UserError: the name is unknown or may not be read, the hub cannot be reached, the connection
            broke, or the files cannot be written.
    """
    import httpx2
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    try:
        with refusals_told(name, folder, AGAIN, FULL):
            snapshot_download(
                name,
                repo_type=kind,
                local_dir=folder,
                endpoint=endpoint,
                allow_patterns=f"{inside}/*" if inside else None,
            )
    except HFValidationError as error:
        raise no_such_name(name) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in _NOT_YOURS:
            raise UserError(
                f"the hub has no {kind} {name} that you may read (answer {status})",
                "check the name; for a gated one log in with: hf auth login",
            ) from error
        raise not_fetched(name, error) from error
    # A hub that cannot be reached is a missing local file to the client, with the reason as cause.
    # A connection that breaks in the middle of a file is an error of the transport, no OSError.
    except (httpx2.HTTPError, OSError) as error:
        raise not_fetched(name, error.__cause__ or error) from error


def upload(folder: Path, name: str, endpoint: str, private: bool) -> str:
    """Uploads a folder as a model, which is made where it does not exist; returns its address.

    Args:
        folder: whose files are uploaded.
        name: OWNER/NAME.
        endpoint: address of the hub.
        private: a new model is private; one that is public already is refused.

    Raises:
        UserError: no login, the hub refuses or cannot be reached, or the connection broke.
    """
    import httpx2
    from huggingface_hub import HfApi, get_token
    from huggingface_hub.errors import HfHubHTTPError, HFValidationError

    token = get_token()
    if token is None:
        raise UserError(
            f"no login at {endpoint}",
            "hf auth login, or set HF_TOKEN, with a token that may write",
        )
    api = HfApi(endpoint=endpoint, token=token)
    try:
        api.create_repo(name, private=private or None, exist_ok=True)
        if private and not api.model_info(name).private:
            raise UserError(
                f"{name} is there already, and public",
                "leave --private out, name another, or make it private in its settings",
            )
        said = "Upload of a policy and its card by rlinf push"
        api.upload_folder(repo_id=name, folder_path=folder, commit_message=said)
    except HFValidationError as error:
        raise no_such_name(name) from error
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        raise _not_uploaded(name, endpoint, status, error) from error
    except (httpx2.HTTPError, OSError) as error:
        reason = str(error.__cause__ or error) or type(error).__name__
        raise UserError(
            f"{name} was not uploaded to {endpoint}: {reason}",
            "check the connection and start again: files that arrived are not sent again",
        ) from error
    return f"{endpoint}/{name}"


def _not_uploaded(name: str, endpoint: str, status: int, error: Exception) -> UserError:
    """The error for what a hub answers to an upload."""
    reasons = {
        HTTPStatus.UNAUTHORIZED: (
            "the hub does not accept the token",
            "hf auth login, or set HF_TOKEN, with a token that may write",
        ),
        HTTPStatus.FORBIDDEN: (
            "the token may not write there",
            "take a token with write access, and an OWNER that you belong to",
        ),
        HTTPStatus.NOT_FOUND: (
            "there is no such owner, or it is hidden from you",
            "check OWNER/NAME; an organisation has to exist before",
        ),
    }
    reason, fix = reasons.get(
        HTTPStatus(status) if status in _NOT_YOURS else HTTPStatus.OK,
        (str(error).splitlines()[0] if str(error) else type(error).__name__, "try again later"),
    )
    return UserError(f"{name} was not uploaded to {endpoint} (answer {status}): {reason}", fix)


def no_such_name(name: str) -> UserError:
    """The error for what cannot be the name of a repository."""
    return UserError(f"{name} is no name on a hub", "write OWNER/NAME, as openvla/openvla-7b")


def not_fetched(name: str, reason: BaseException) -> UserError:
    """The error for a repository that may be there but did not arrive."""
    return UserError(
        f"{name} could not be fetched: {str(reason) or type(reason).__name__}",
        "check connection and free space and start again: complete files are kept. mirrors: "
        "--use-mirror, HF_ENDPOINT, --source modelscope",
    )
