"""Which networks the API server takes, and what it says to write instead of the others."""

import pytest

from tests.support.admission import EVERYTHING, OWN_MODEL, REMOVED, Admission, changed
from tests.support.world import Object

MODEL = "spec.model"
SOURCE, NORMALIZATION = f"{MODEL}.source", f"{MODEL}.normalization"
RESUMED = "spec.training.resumeFrom"
STORED = "spec.dataset.image.resizeShort"
EARLIER = {
    "uri": "https://example.com/flowers.tar",
    "sha256": "0" * 64,
    "secretRef": {"name": "login"},
}
OWN = changed(EVERYTHING, {MODEL: OWN_MODEL})

BAD: list[tuple[str, Object, str, str]] = [
    # sentence, changes, the field that is named, the remedy that is named
    ("neither is set", {MODEL: {}}, "spec", "set exactly one of model.name, of the model"),
    ("nothing is said", {MODEL: REMOVED}, "spec", "and training.resumeFrom, an earlier job's"),
    ("both are set", {f"{MODEL}.name": "resnet-50"}, MODEL, "set exactly one of name"),
    ("pixels are not scaled",
     {NORMALIZATION: REMOVED, f"{SOURCE}.architecture": REMOVED, f"{SOURCE}.format": "onnx"}, MODEL,
     "set normalization: the mean and std of R, G and B, for pixels from 0 to 255"),
    ("mean is of pixels to 1", {f"{NORMALIZATION}.mean": ["0.485", "0.456", "0.406"]},
     NORMALIZATION, "multiply a mean for pixels from 0 to 1, such as 0.485, by 255"),
    ("std is of pixels to 1", {f"{NORMALIZATION}.std": ["0.229", "0.224", "0.225"]},
     NORMALIZATION, "at least 1: multiply a std for pixels from 0 to 1"),
    ("std is nothing", {f"{NORMALIZATION}.std[1]": "0"}, NORMALIZATION, "at least 1"),
    ("mean is one number", {f"{NORMALIZATION}.mean": ["123"]}, f"{NORMALIZATION}.mean",
     "should have at least 3 items"),
    ("mean is a number", {f"{NORMALIZATION}.mean[0]": 123}, f"{NORMALIZATION}.mean[0]", "string"),
    ("mean is no number", {f"{NORMALIZATION}.mean[0]": "red"}, f"{NORMALIZATION}.mean[0]",
     "must be a decimal number in quotes"),
    ("std is missing", {f"{NORMALIZATION}.std": REMOVED}, f"{NORMALIZATION}.std", "Required value"),
    ("images are tiny", {f"{MODEL}.inputSize": 16}, f"{MODEL}.inputSize",
     "greater than or equal to 32"),
    ("images are huge", {f"{MODEL}.inputSize": 2048}, f"{MODEL}.inputSize",
     "less than or equal to 1024"),
    ("layer is empty", {f"{MODEL}.replaceAfter": ""}, f"{MODEL}.replaceAfter",
     "should be at least 1 chars long"),
    ("format is not one", {f"{SOURCE}.format": "keras"}, f"{SOURCE}.format",
     'supported values: "auto"'),
    ("weights of an unknown network", {f"{SOURCE}.architecture": REMOVED}, SOURCE,
     "set architecture, such as resnet-50"),
    ("a symbol of a named network", {f"{SOURCE}.format": "mxnet"}, SOURCE, "remove architecture"),
    ("an ONNX file of a named network", {f"{SOURCE}.format": "onnx"}, SOURCE,
     "remove architecture"),
    ("a network and an earlier model", {RESUMED: {"uri": "pvc://models/flowers"}}, "spec",
     "set exactly one of model.name"),
    ("an earlier model of other images", {MODEL: {"inputSize": 224}, RESUMED: EARLIER}, "spec",
     "remove model.inputSize, model.normalization and model.replaceAfter"),
    ("an earlier model on this machine", {MODEL: {}, RESUMED: {"uri": "file:///models"}}, RESUMED,
     "put the files into a claim"),
    ("an earlier model in a file", {MODEL: {}, RESUMED: {"uri": "http://x.test/a.tar"}}, RESUMED,
     "use https://, or set sha256"),
    ("architecture is a path", {f"{SOURCE}.architecture": "/resnet"}, f"{SOURCE}.architecture",
     "an entry of the model catalogue"),
    ("file is on this machine", {f"{SOURCE}.uri": "file:///resnet50.pth"}, SOURCE,
     "put the files into a claim"),
    ("file is of another cloud", {f"{SOURCE}.uri": "gs://models/resnet50.pth"}, SOURCE,
     "or https:// of a weights file or an archive"),
    ("file climbs out of its claim", {f"{SOURCE}.uri": "pvc://models/../x.pth"}, f"{SOURCE}.uri",
     "must not contain '..'"),
    ("http without a digest", {f"{SOURCE}.uri": "http://example.com/a.pth",
                               f"{SOURCE}.sha256": REMOVED, f"{SOURCE}.secretRef": REMOVED},
     SOURCE, "use https://, or set sha256"),
    ("claim is given a secret", {f"{SOURCE}.uri": "pvc://models/a.pth"}, SOURCE,
     "secretRef is for https:// and s3:// only: remove it"),
    ("photos are smaller than a network's images", {MODEL: {"name": "efficientnet-lite2"},
                                                  STORED: 256}, STORED,
     "the network takes images of 260 pixels, more than dataset.image.resizeShort: remove "
     "resizeShort, which is then 297"),
    ("photos are a pixel smaller", {MODEL: {"name": "efficientnet-lite1"}, STORED: 239}, STORED,
     "images of 240 pixels, more than dataset.image.resizeShort: remove resizeShort, which is then "
     "274"),
    ("photos are much smaller", {MODEL: {"name": "mobilenet-v2"}, STORED: 128}, STORED,
     "remove resizeShort, which is then 256"),
    ("photos are smaller than an architecture's images",
     {f"{SOURCE}.architecture": "efficientnet-lite1", f"{MODEL}.inputSize": REMOVED, STORED: 224},
     STORED, "the network takes images of 240 pixels"),
    ("photos are smaller than inputSize", {f"{MODEL}.inputSize": 300, STORED: 256}, STORED,
     "dataset.image.resizeShort is below model.inputSize: remove resizeShort"),
    ("field is misspelt", {f"{MODEL}.inputsize": 224}, "inputsize", "unknown field"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("changes", "field", "remedy"), [pytest.param(*case[1:], id=case[0]) for case in BAD]
)
def test_bad_network_is_refused_with_field_and_remedy(
    admission: Admission, changes: Object, field: str, remedy: str
) -> None:
    blocked = admission.blocked(changed(OWN, changes))
    assert field in blocked
    assert remedy in blocked


GOOD: list[tuple[str, Object]] = [
    ("every field", {}),
    ("a folder on a volume", {SOURCE: {"uri": "pvc://models/imagenet/resnet-50"}}),
    ("an archive", {SOURCE: {"uri": "https://example.com/resnet-50.tar.gz"}}),
    ("an object", {SOURCE: {"uri": "s3://models/resnet.safetensors", "architecture": "resnet-18"}}),
    ("scaled as the architecture", {NORMALIZATION: REMOVED}),
    ("raw pixels", {NORMALIZATION: {"mean": ["0", "0", "0"], "std": ["1", "1", "1.0"]}}),
    ("an ONNX file", {SOURCE: {"uri": "pvc://models/resnet.onnx", "format": "onnx"}}),
    ("an earlier model", {MODEL: REMOVED, RESUMED: EARLIER}),
    ("the newest model of a job", {MODEL: {}, RESUMED: {"uri": "pvc://models/flowers"}}),
    ("a changed catalogue entry", {SOURCE: REMOVED, f"{MODEL}.name": "resnet-50"}),
    ("only a name", {MODEL: {"name": "mobilenet-v2"}}),
    ("a name and no size of photos", {MODEL: {"name": "efficientnet-lite2"}, STORED: REMOVED}),
    ("photos just as large", {MODEL: {"name": "efficientnet-lite2"}, STORED: 260}),
    (
        "images smaller than the catalogue's",
        {MODEL: {"name": "efficientnet-lite2", "inputSize": 224}, STORED: 240},
    ),
    ("small photos for a network of another image", {MODEL: {"name": "tiny"}, STORED: 64}),
    ("small photos for an earlier model", {MODEL: {}, RESUMED: EARLIER, STORED: 64}),
    (
        "small photos for a symbol",
        {
            f"{SOURCE}.architecture": REMOVED,
            f"{MODEL}.inputSize": REMOVED,
            f"{SOURCE}.format": "mxnet",
            STORED: 64,
        },
    ),
]


@pytest.mark.parametrize("changes", [pytest.param(case[1], id=case[0]) for case in GOOD])
def test_good_network_is_taken(admission: Admission, changes: Object) -> None:
    assert admission.blocked(changed(OWN, changes)) == ""
