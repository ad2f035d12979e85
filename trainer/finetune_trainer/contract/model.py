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
    """A pretrained network that is not in the model catalogue."""

    uri: Uri
    """`pvc://CLAIM/PATH`, `s3://BUCKET/KEY` or `https://` of a weights file, of an .onnx file, or
    of a folder or archive with NAME-symbol.json and NAME-0000.params. `http://` needs sha256;
    `file://` is for local runs."""
    sha256: Sha256 | None = None
    """SHA-256 of the file at the URI; it is checked before the file is used."""
    secret_ref: SecretRef | None = None
    """Secret with TOKEN, or USERNAME and PASSWORD, for an `https://` source; with
    AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY and, where needed, AWS_SESSION_TOKEN, AWS_REGION and
    AWS_ENDPOINT_URL for an `s3://` source."""
    format: Literal["auto", "mxnet", "torch", "safetensors", "onnx"] = "auto"
    """mxnet: a symbol with its parameters. torch: a state dict saved by torch.save; no code in it
    is run. safetensors: a state dict. onnx: a classifier with its weights. auto: detected from the
    content."""
    architecture: CatalogueName | None = None
    """Architecture of the network in a state dict, by its name in the model catalogue, such as
    resnet-50."""

    cel: ClassVar[Rules] = (
        *source_rules("https:// of a weights file or an archive"),
        (
            "!has(self.architecture) || !has(self.format) || !(self.format in ['mxnet', 'onnx'])",
            "a symbol or an ONNX file contains its architecture: remove architecture",
        ),
        (
            "has(self.architecture) || !has(self.format) ||"
            " self.format in ['auto', 'mxnet', 'onnx']",
            "a state dict does not contain its architecture: set architecture, such as resnet-50",
        ),
    )


Rgb = Annotated[tuple[Decimal, ...], Meta(min_length=3, max_length=3)]


class Normalization(Struct, forbid_unknown_fields=True):
    """The scaling of pixels that the network was trained with: (pixel - mean) / std."""

    mean: Rgb
    """Means of R, G and B, for pixels from 0 to 255."""
    std: Rgb
    """Standard deviations of R, G and B, for pixels from 0 to 255."""

    cel: ClassVar[Rules] = (
        (
            "self.mean.all(x, !x.matches('^0*[.]0*[1-9]'))",
            "mean must be for pixels from 0 to 255: multiply a mean for pixels from 0 to 1, such "
            "as 0.485, by 255",
        ),
        (
            "self.std.all(x, x.matches('^0*[1-9]'))",
            "std must be for pixels from 0 to 255, at least 1: multiply a std for pixels from 0 to "
            "1, such as 0.229, by 255",
        ),
    )


class Model(Struct, forbid_unknown_fields=True):
    """The pretrained network whose last layer is replaced."""

    name: CatalogueName | None = None
    """Name in the trainer's model catalogue."""
    source: ModelSource | None = None
    """A network that is not in the catalogue."""
    replace_after: Annotated[str, Meta(min_length=1, max_length=253)] | None = None
    """Last layer that is kept; all layers after it are replaced by a new one. Default: the layer
    before the last one with weights."""
    input_size: Annotated[int, Meta(ge=32, le=1024)] | None = None
    """Height and width of the network's input images, in pixels. Default: the catalogue's or the
    symbol's, otherwise 224."""
    normalization: Normalization | None = None
    """Scaling of pixels before the network sees them. Default: the catalogue's for name or for
    source.architecture."""

    cel: ClassVar[Rules] = (
        (
            "!has(self.name) || !has(self.source)",
            "set exactly one of name, of the model catalogue, such as efficientnet-lite0, and "
            "source, a network of your own",
        ),
        (
            "!has(self.source) || has(self.normalization) || has(self.source.architecture)",
            "set normalization: the mean and std of R, G and B, for pixels from 0 to 255, that the "
            "network of source was trained with",
        ),
    )
