"""What passes of GR00T-N1.5 need of a GPU's memory, computed from its sizes.

Letters: L tokens of the prompt, D their width, S tokens of the chain, E their width.
"""

from __future__ import annotations

from typing import NamedTuple

from rlinf.config.base import Footprint
from rlinf.models.gr00t.folder import Gr00tFolder


class Stack(NamedTuple):
    """Layers of attention and a perceptron, one after the other."""

    layers: int
    width: int
    hidden: int  # of the perceptron
    matrices: int  # of the perceptron: 3 where it has a gate
    beside: int  # parameters of a layer beside the perceptron's: of attention and norms

    @property
    def acting(self) -> int:
        """Numbers per token of a layer that computes and keeps nothing."""
        return 4 * self.width + self.matrices * self.hidden

    @property
    def kept(self) -> int:
        """Numbers per token of a layer, from a forward pass to its backward pass: inputs and
        outputs of both norms, queries, keys, values and their mix, and what the perceptron has.
        """
        return 8 * self.width + (self.matrices + self.matrices // 3) * self.hidden

    @property
    def parameters(self) -> int:
        """Of a layer."""
        return self.beside + self.matrices * self.width * self.hidden


class Sizes(NamedTuple):
    """Of a model."""

    vision: Stack
    language: Stack
    looking: Stack  # self-attention of the head over the prompt
    dit: Stack
    patches: int  # of a picture
    chain: int  # S


PUBLISHED = Sizes(
    vision=Stack(27, 1152, 4304, 2, 5_308_416),
    language=Stack(12, 2048, 6144, 3, 12_582_912),
    looking=Stack(4, 2048, 8192, 2, 16_777_216),
    dit=Stack(16, 1536, 6144, 2, 14_942_208),
    patches=256,
    chain=1 + 32 + 16,
)
"""For estimates while there is no folder."""


def sizes_of(folder: Gr00tFolder) -> Sizes:
    """What the files say."""
    vision, text, head = folder.vision, folder.text, folder.head
    shown, prompt, width = vision["hidden_size"], head.features, head.width
    queries = text["num_attention_heads"] + text["num_key_value_heads"]
    return Sizes(
        Stack(vision["num_hidden_layers"], shown, vision["intermediate_size"], 2, 4 * shown**2),
        Stack(
            folder.text_layers,
            text["hidden_size"],
            text["intermediate_size"],
            3,
            2 * text["hidden_size"] * queries * text["head_dim"],
        ),
        Stack(head.looking_layers, prompt, 4 * prompt, 2, 4 * prompt**2),
        # Every second layer makes keys and values of the prompt; each has a norm with two matrices.
        Stack(head.layers, width, 4 * width, 2, 5 * width**2 + prompt * width),
        folder.patches,
        1 + head.future_tokens + head.horizon,
    )


def footprint(
    sizes: Sizes,
    parameters: int,
    pictures: int,
    text: int,
    passes: int,
    language: bool,
    form: int,
) -> Footprint:
    """Memory of passes over one sample.

    Args:
        parameters: of the whole model.
        pictures: of an observation.
        text: tokens of the instruction and of what stands around it.
        passes: steps of the chain that are computed with gradients.
        language: whether the language model has adapters, so that its activations are kept.
        form: bytes of a number.
    """
    vision, backbone, looking, dit = sizes.vision, sizes.language, sizes.looking, sizes.dit
    patches = pictures * sizes.patches
    prompt = patches + text
    # Each second block looks at the prompt: keys and values of all its tokens.
    looked_at = (dit.layers + 1) // 2 * 2 * prompt * dit.width
    kept = 2 * prompt * looking.width + looking.layers * prompt * looking.kept + looked_at
    # Beside the layers: what turns actions and times into tokens, and tokens into a velocity.
    kept += passes * sizes.chain * (dit.layers * dit.kept + 5 * dit.width)
    kept += backbone.layers * prompt * backbone.kept * language
    acting = max(patches * vision.acting, prompt * backbone.acting, prompt * looking.acting)
    stacks = (vision, backbone, looking, dit)
    return Footprint(
        kept=form * kept,
        live=form * max(acting, prompt * looking.kept),
        acting=form * acting,
        cache=form * looked_at,
        layer=max(stack.parameters for stack in stacks),
        outside=max(0, parameters - sum(stack.layers * stack.parameters for stack in stacks)),
    )
