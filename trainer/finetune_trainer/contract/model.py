"""`spec.model`: the pretrained network."""

from typing import Annotated, ClassVar, Literal

from msgspec import Meta

from finetune_trainer.contract.values import (
    Decimal,
    Rules,
    SecretRef,
    Sha256,
    Source,
    Struct,
    Uri,
    rule,
    source_rules,
)

CatalogueName = Annotated[
    str,
    rule(
        "self.matches('^[a-z0-9]([-a-z0-9._]*[a-z0-9])?$')",
        "must be an entry of the model catalogue, such as efficientnet-lite0",
        min_length=1,
        max_length=63,
    ),
]


class ModelSource(Source, forbid_unknown_fields=True):
    """A pretrained network of one's own."""

    uri: Uri
    """`pvc://CLAIM/PATH`, `s3://BUCKET/KEY` or `https://`: a weights file or .onnx; or a
    folder, or an archive of one, with NAME-symbol.json and NAME-0000.params. `http://` needs
    sha256; `file://` is for local runs."""
    sha256: Sha256 | None = None
    """Digest of the file that the URI names; checked before it is used."""
    secret_ref: SecretRef | None = None
    """Secret with TOKEN, or USERNAME and PASSWORD, for an `https://` source; with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN, AWS_REGION and
    AWS_ENDPOINT_URL for an `s3://` source."""
    format: Literal["auto", "mxnet", "torch", "safetensors", "onnx"] = "auto"
    """mxnet: a symbol with its parameters. torch: a state dict saved by torch.save; no code in it
    is run. safetensors: a state dict. onnx: a classifier, with its weights. auto: told by the
    content."""
    architecture: CatalogueName | None = None
    """Network that a state dict is of, as the model catalogue calls it, such as resnet-50."""

    cel: ClassVar[Rules] = (
        *source_rules("https:// of a weights file or an archive"),
        (
            "!has(self.architecture) || !has(self.format) || !(self.format in ['mxnet', 'onnx'])",
            "a symbol or an ONNX file says what network it is: remove architecture",
        ),
        (
            "has(self.architecture) || !has(self.format) ||"
            " self.format in ['auto', 'mxnet', 'onnx']",
            "weights alone do not say what network they are of: set architecture, such as "
            "resnet-50",
        ),
    )


Rgb = Annotated[tuple[Decimal, ...], Meta(min_length=3, max_length=3)]


class Normalization(Struct, forbid_unknown_fields=True):
    """What the network was trained with: it sees (pixel - mean) / std."""

    mean: Rgb
    """Of R, G and B, of pixels from 0 to 255."""
    std: Rgb
    """Of R, G and B, of pixels from 0 to 255."""

    cel: ClassVar[Rules] = (
        (
            "self.mean.all(x, !x.matches('^0*[.]0*[1-9]'))",
            "mean must be of pixels from 0 to 255: multiply one of pixels from 0 to 1, such as "
            "0.485, by 255",
        ),
        (
            "self.std.all(x, x.matches('^0*[1-9]'))",
            "std must be of pixels from 0 to 255, at least 1: multiply one of pixels from 0 to 1, "
            "such as 0.229, by 255",
        ),
    )


class Model(Struct, forbid_unknown_fields=True):
    """The pretrained network whose last layer is replaced."""

    name: CatalogueName | None = None
    """Entry of the trainer's model catalogue."""
    source: ModelSource | None = None
    """A network that is not in the catalogue."""
    replace_after: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    """Last layer that is kept; all behind it is replaced. Default: the layer before the last one
    with weights, found from the network's output."""
    input_size: Annotated[int, Meta(ge=32, le=1024)] | None = None
    """Height and width of the images it takes, in pixels. Default: the catalogue's or the
    symbol's, else 224."""
    normalization: Normalization | None = None
    """How pixels are scaled before the network sees them. Default: the catalogue's, of name or of
    source.architecture."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.name) || !has(self.source)",
            "set exactly one of name, of the model catalogue, such as efficientnet-lite0, and "
            "source, a network of your own",
        ),
        (
            "!has(self.source) || has(self.normalization) || has(self.source.architecture)",
            "set normalization: mean and std of R, G and B, from 0 to 255, that the network of "
            "source was trained with",
        ),
    )
