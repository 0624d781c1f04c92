"""What of a model folder's files can be checked without reading a single weight."""

from __future__ import annotations

from rlinf.errors import UserError
from rlinf.models.prismatic.model_folder import ModelFolder
from rlinf.models.weight_files import COPY_AGAIN, read_header, weight_files

_EMBEDDING = "language_model.model.embed_tokens.weight"


def check_files(folder: ModelFolder) -> None:
    """Looks for what a start would fail on: missing or truncated files, another vocabulary.

    Raises:
        UserError: naming the file and what is wrong.
    """
    if not (folder.path / "tokenizer.json").is_file():
        raise UserError(f"{folder.path} lacks tokenizer.json", COPY_AGAIN)
    rows = folder.architecture.vocabulary
    for path in weight_files(folder.path):
        if path.suffix != ".safetensors":
            continue
        embedding = read_header(path)[0].get(_EMBEDDING)
        if embedding is not None and embedding["shape"][0] != rows:
            raise UserError(
                f"{path}: the embedding has {embedding['shape'][0]} rows, by config.json the "
                f"vocabulary has {rows}",
                "take config.json and weights from the same model; the number is "
                "text_config.vocab_size",
            )
