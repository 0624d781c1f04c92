"""`actor.model` of the published RLinf."""

from __future__ import annotations

from rlinf.config.refused import ABSENT
from rlinf.convert.draft import Draft
from rlinf.registry import models

_TYPES = {"mlp_policy": "mlp"}
_MODEL = "actor.model"
_SIZES = ("action_dim", "num_action_chunks")
_RECIPES = {
    "rlinf": "no </s> after the actions, pictures resized as tensors, nothing cropped",
    "official": "sequence end and pictures as in the original code",
}
_PATHS = (
    "actor.model.model_path",
    "actor.checkpoint_load_path",
    "rollout.model.model_path",
    "rollout.model_dir",
)


def convert_policy(draft: Draft) -> bool:
    """Carries the model over; False where there is no such model here."""
    name = str(draft.take(f"{_MODEL}.model_type", f"{_MODEL}.model_name"))
    kind = _TYPES.get(name, name)
    draft.take("rollout.model.model_type")
    if kind not in models():
        state = ABSENT["model_type"].get(kind, "not known to `rlinf convert`")
        draft.lose(f"the model {name}: {state}", f"this version has {', '.join(sorted(models()))}")
        return False
    draft.put(f"{_MODEL}.model_type", kind)
    for key in _SIZES:
        draft.carry(f"{_MODEL}.{key}")
    draft.put(f"{_MODEL}.model_path", draft.take(*_PATHS))
    draft.put(
        f"{_MODEL}.precision",
        draft.take(f"{_MODEL}.precision", "rollout.model.precision", "rollout.precision"),
    )
    draft.put(
        f"{_MODEL}.gradient_checkpointing",
        draft.take(f"{_MODEL}.gradient_checkpointing", "actor.fsdp_config.gradient_checkpointing"),
    )
    if kind == "mlp":
        for key in ("obs_dim", "hidden_dim"):
            draft.carry(f"{_MODEL}.{key}")
    elif kind in ("openvla", "openvla_oft"):
        _convert_openvla(draft, kind)
    return True


def _convert_openvla(draft: Draft, kind: str) -> None:
    draft.carry(f"{_MODEL}.unnorm_key")
    _convert_lora(draft)
    version = draft.take(f"{_MODEL}.implement_version") or "rlinf"
    if version not in _RECIPES:
        draft.lose(f"{_MODEL}.implement_version = {version}: not known", "choose rlinf or official")
        return
    draft.put(f"{_MODEL}.recipe", version, _RECIPES[version])
    draft.leave(
        f"{_MODEL}.center_crop",
        "it cut nothing off there: the picture had the model's size before the crop"
        if version == "rlinf"
        else "the recipe decides it",
    )
    if kind == "openvla_oft":
        draft.carry(f"{_MODEL}.num_images_in_input")
        draft.carry(f"{_MODEL}.use_proprio")
    elif (views := draft.look(f"{_MODEL}.num_images_in_input") or 1) > 1:
        draft.lose(
            f"{_MODEL}.num_images_in_input = {views}: {kind} reads one picture", "set it to 1"
        )
    if draft.look(f"{_MODEL}.use_film"):
        draft.lose(
            f"{_MODEL}.use_film = true: models with FiLM are not part of this version",
            "use a model that was fine-tuned without it",
        )


def _convert_lora(draft: Draft) -> None:
    keys = [f"{_MODEL}.{name}" for name in ("lora_rank", "lora_path")]
    if draft.look(f"{_MODEL}.is_lora"):
        draft.carry(f"{_MODEL}.is_lora")
        for key in keys:
            draft.carry(key)
        return
    draft.take(f"{_MODEL}.is_lora")
    for key in keys:
        draft.leave(key, "is_lora is false")
