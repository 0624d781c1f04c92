"""Fetching published models by name, from Hugging Face or ModelScope."""

from __future__ import annotations

from importlib.util import find_spec
from pathlib import Path
from typing import Literal

from rlinf.assets.download import hub_endpoint
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
        raise UserError(f"{name} is no name on a hub", "write OWNER/NAME, as openvla/openvla-7b")
    if source == "modelscope":
        _from_modelscope(name, folder)
    else:
        _from_hugging_face(name, folder, hub_endpoint(use_mirror))
    return folder


def _from_hugging_face(name: str, folder: Path, endpoint: str) -> None:
    _require("huggingface_hub", "bash requirements/install.sh embodied --model openvla")
    import httpx
    from huggingface_hub import snapshot_download
    from huggingface_hub.errors import HfHubHTTPError, LocalEntryNotFoundError

    try:
        snapshot_download(name, local_dir=folder, endpoint=endpoint)
    except HfHubHTTPError as error:
        status = error.response.status_code if error.response is not None else 0
        if status in (401, 403, 404):
            raise UserError(
                f"the hub has no model {name} that you may read (answer {status})",
                "check the name; for a gated one log in with: hf auth login",
            ) from error
        raise _unreachable(name, error) from error
    except (LocalEntryNotFoundError, httpx.HTTPError, OSError) as error:
        raise _unreachable(name, error) from error


def _from_modelscope(name: str, folder: Path) -> None:
    _require("modelscope", "uv pip install modelscope")
    import requests
    from modelscope import snapshot_download

    try:
        snapshot_download(name, local_dir=str(folder))
    except (requests.RequestException, OSError, ValueError) as error:
        raise _unreachable(name, error) from error


def _require(package: str, command: str) -> None:
    if find_spec(package) is None:
        raise UserError(f"the package {package} is not installed", f"run: {command}")


def _unreachable(name: str, error: Exception) -> UserError:
    return UserError(
        f"{name} could not be fetched: {error}",
        "check the connection and start again: what has arrived is kept. mirrors: "
        "--use-mirror, HF_ENDPOINT, --source modelscope",
    )
