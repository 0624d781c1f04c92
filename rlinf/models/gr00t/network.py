"""GR00T-N1.5 as a network, and its weights in files.

Names of the weights are those of the published folders but for the vision tower, which stands there
under `vision_model.vision_model` and in transformers, since version 5, under `vision_model`.
"""

from __future__ import annotations

import json
import shutil
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from rlinf.errors import UserError
from rlinf.models import adapters
from rlinf.models.files import read_tensors, write_shards
from rlinf.models.gr00t.backbone import Backbone, Padding
from rlinf.models.gr00t.folder import ADAPTED, METADATA, PROCESSOR, Gr00tFolder
from rlinf.models.gr00t.head import ActionHead, Looked, Slots
from rlinf.models.gr00t.heads import PREFIXES
from rlinf.models.weight_files import weight_files

_VISION = "backbone.eagle_model.vision_model."
_PUBLISHED_VISION = f"{_VISION}vision_model."
_LANGUAGE = "backbone.eagle_model.language_model."
_EMBEDDING = f"{_LANGUAGE}model.embed_tokens.weight"
_OUTPUT = f"{_LANGUAGE}lm_head.weight"
_AGAIN = "copy or download the model folder again"


class Gr00t(nn.Module):
    """Backbone and action head. The logits over the vocabulary, which no action needs, are not."""

    def __init__(self, folder: Gr00tFolder) -> None:
        super().__init__()
        self.backbone = Backbone(folder)
        self.action_head = ActionHead(folder.head)

    def features(self, ids: Tensor, real: Tensor, pixels: Tensor, padding: Padding) -> Tensor:
        """Of the backbone, [B, L, D]; see `Backbone.forward`."""
        return self.backbone(ids, real, pixels, padding)

    def look(
        self, features: Tensor, real: Tensor, state: Tensor, slots: Slots, padding: Padding
    ) -> Looked:
        """What the head looks at; with `flash` it looks at padding too, as the original does."""
        hidden = padding == "flash" or bool(real.all())
        mask = None if hidden else real.to(features.device)
        return self.action_head.look(features, mask, state, slots)

    def stored(self) -> dict[str, Tensor]:
        """The weights of the plain model by their names: without adapters."""
        return {
            adapters.unadapted(name): tensor
            for name, tensor in self.state_dict().items()
            if ".lora_" not in name
        }

    @torch.no_grad()
    def assign(self, state: Mapping[str, Tensor]) -> None:
        """Makes the tensors the parameters, or copies them where there are parameters.

        Args:
            state: of the plain model. Adapters change nothing afterwards.
        """
        if not next(self.parameters()).is_meta:
            for name, tensor in self.stored().items():
                tensor.copy_(state[name])
            adapters.forget(self)
            return
        trained = {name: p.requires_grad for name, p in self.named_parameters()}
        self.load_state_dict(state, assign=True)
        for name, parameter in self.named_parameters():
            parameter.requires_grad_(trained[name])
        self.backbone.restore_buffers()

    def adapt(self, parts: Sequence[str], rank: int) -> None:
        """Puts adapters on parts of the model, see `ADAPTED`, which are frozen then.

        A head without adapters is trained as it is.
        """
        if parts:
            adapters.inject(self, "|".join(ADAPTED[part] for part in parts), rank)
        self.action_head.requires_grad_("head" not in parts)
        for name, parameter in self.named_parameters():
            if ".lora_" in name:
                parameter.requires_grad_(True)


def read(
    folder: Gr00tFolder, expected: Mapping[str, Tensor], dtype: torch.dtype
) -> tuple[dict[str, Tensor], dict[str, Tensor]]:
    """The weights of a folder by our names, and what reinforcement learning added to them.

    Args:
        expected: names and shapes there must be.

    Raises:
        UserError: weights are missing, too many, or of other shapes.
    """
    state: dict[str, Tensor] = {}
    for path in weight_files(folder.path):
        state |= {_ours(name): tensor.to(dtype) for name, tensor in read_tensors(path).items()}
    added = {name: state.pop(name).float() for name in list(state) if name.startswith(PREFIXES)}
    output = state.pop(_OUTPUT, None)
    if output is not None:
        state.setdefault(_EMBEDDING, output)  # one weight under two names
    missing, unknown = (
        sorted(expected.keys() - state.keys()),
        sorted(state.keys() - expected.keys()),
    )
    if missing or unknown:
        names = missing or unknown
        raise UserError(
            f"{folder.path}: its weights are not those of its config.json: they "
            f"{'lack' if missing else 'have in excess'} {names[0]} and {len(names) - 1} more",
            _AGAIN,
        )
    for name, tensor in expected.items():
        if state[name].shape != tensor.shape:
            raise UserError(
                f"{folder.path}: {name} has shape {list(state[name].shape)}, by config.json and "
                f"the processor's it is {list(tensor.shape)}",
                "take model and processor of the same kind",
            )
    return state, added


def write(
    state: Mapping[str, Tensor], folder: Path, source: Gr00tFolder, tags: Mapping[str, Any]
) -> None:
    """A folder in the published layout, with the processor in a sub-folder.

    Args:
        state: weights by our names.
        source: the folder that the model was built from.
        tags: what metadata.json says.
    """
    (folder / METADATA).parent.mkdir(parents=True, exist_ok=True)
    (folder / METADATA).write_text(json.dumps(dict(tags), indent=2) + "\n")
    (folder / "config.json").write_text(json.dumps(dict(source.settings), indent=2) + "\n")
    (folder / PROCESSOR).mkdir(exist_ok=True)
    for path in sorted(source.processor.iterdir()):
        copied = path.suffix in (".json", ".txt", ".jinja") and ".index." not in path.name
        if copied and path.resolve() != (folder / PROCESSOR / path.name).resolve():
            shutil.copy(path, folder / PROCESSOR / path.name)
    write_shards({_theirs(name): tensor for name, tensor in state.items()}, folder)


def _ours(name: str) -> str:
    if name.startswith(_PUBLISHED_VISION):
        return _VISION + name.removeprefix(_PUBLISHED_VISION)
    return name


def _theirs(name: str) -> str:
    if name.startswith(_VISION):
        return _PUBLISHED_VISION + name.removeprefix(_VISION)
    return name
