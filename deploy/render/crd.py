"""Generate the FineTuneJob CRD from the types: descriptions from the docstrings, bounds and rules
from the metadata. Run by `make render`; never edit the result.
"""

import ast
import copy
import functools
import inspect
import itertools
import textwrap
import typing
from pathlib import Path
from typing import Any

import msgspec
import yaml
from finetune_operator.api import constants, kubernetes, scheduling, trainer, types
from finetune_trainer import contract
from finetune_trainer.dataset.stored_size import stored_size
from finetune_trainer.model import catalogue

TARGET = Path("charts/finetune-operator/files/finetunejobs.yaml")
Schema = dict[str, Any]
# Sections of the spec that pass through the operator unread; the trainer's types are their schema.
SECTIONS: dict[str, type[msgspec.Struct]] = {
    "model": contract.Model,
    "dataset": contract.Dataset,
    "training": contract.Training,
    "output": contract.Output,
}
COLUMNS = (
    ("Phase", "string", ".status.phase", 0),
    ("Accuracy", "string", ".status.accuracy", 0),
    ("Progress", "integer", ".status.trainerStatus.progressPercentage", 0),
    ("ETA", "string", ".status.eta", 0),
    ("Attempts", "integer", ".status.attempts", 0),
    ("Age", "date", ".metadata.creationTimestamp", 0),
    # By `-o wide`: why it waits or failed, where it is, what it is; the text of any length last.
    ("Reason", "string", ".status.failure.reason", 1),
    ("Queue", "string", r".metadata.labels.kueue\.x-k8s\.io/queue-name", 1),
    ("Node", "string", ".status.currentAttempt.node", 1),
    ("Epoch", "string", '.status.trainerStatus.metrics[?(@.name=="epoch")].value', 1),
    ("GPUs", "integer", ".spec.trainer.gpusPerNode", 1),
    ("Model", "string", ".status.model.name", 1),
    ("Classes", "integer", ".status.dataset.classes", 1),
    ("Message", "string", '.status.conditions[?(@.type=="PodsReady")].message', 1),
)
CONDITIONS = {
    "maxItems": 32,
    "x-kubernetes-list-type": "map",
    "x-kubernetes-list-map-keys": ["type"],
}
CONDITION_FIELDS: dict[str, Schema] = {
    "type": {"description": "Type of the condition.", "minLength": 1, "maxLength": 316},
    "status": {
        "description": "True, False or Unknown.",
        "enum": ["True", "False", "Unknown"],
    },
    "reason": {
        "description": "Reason of the status, a CamelCase word for programs.",
        "minLength": 1,
        "maxLength": 1024,
    },
    "message": {"description": "Message for humans.", "maxLength": 32768},
    "lastTransitionTime": {"description": "Time at which the status last changed."},
    "observedGeneration": {
        "description": "Generation of the spec that the condition belongs to.",
        "minimum": 0,
    },
}
# As in core/v1: two appliers must not mix their values in one reference or one selector.
ATOMIC = (
    trainer.KeyReference,
    trainer.LocalReference,
    contract.SecretRef,
    scheduling.NodeTerm,
    scheduling.NodeTerms,
)
NAME_RULE = (
    "self.metadata.name.matches('^[a-z]([-a-z0-9]*[a-z0-9])?$') && size(self.metadata.name) <= 50",
    "metadata.name must start with a letter, have only lower-case letters, digits and '-', and at "
    "most 50 characters: the names of the Jobs are made from it",
)


def build_crd() -> Schema:
    """Return the CustomResourceDefinition."""
    spec = struct_schema(types.Spec)
    spec["x-kubernetes-validations"] = [*rules(types.Spec), *input_sizes(), *immutability()]
    schema = {
        "type": "object",
        "description": doc(types.FineTuneJob),
        "required": ["spec"],
        "x-kubernetes-validations": [rule(*NAME_RULE)],
        "properties": {
            "apiVersion": {
                "type": "string",
                "description": f"Version of this schema: {constants.API_VERSION}.",
            },
            "kind": {"type": "string", "description": f"Kind of the object: {constants.KIND}."},
            "metadata": {"type": "object"},
            "spec": spec,
            # Until the operator has observed the job, kstatus must not find it current.
            "status": struct_schema(types.Status, defaults=False)
            | {"default": {"observedGeneration": -1}},
        },
    }
    columns = [
        {"name": name, "type": type_, "jsonPath": path, "priority": priority}
        for name, type_, path, priority in COLUMNS
    ]
    return {
        "apiVersion": "apiextensions.k8s.io/v1",
        "kind": "CustomResourceDefinition",
        "metadata": {"name": f"{constants.PLURAL}.{constants.GROUP}"},
        "spec": {
            "group": constants.GROUP,
            "scope": "Namespaced",
            "names": {
                "kind": constants.KIND,
                "listKind": f"{constants.KIND}List",
                "plural": constants.PLURAL,
                "singular": "finetunejob",
                "shortNames": ["ftj"],
                "categories": ["all"],  # as Jobs and pods: `kubectl get all` shows what owns them
            },
            "versions": [
                {
                    "name": constants.VERSION,
                    "served": True,
                    "storage": True,
                    "subresources": {"status": {}},
                    "additionalPrinterColumns": columns,
                    "selectableFields": [{"jsonPath": ".status.phase"}],
                    "schema": {"openAPIV3Schema": schema},
                }
            ],
        },
    }


def struct_schema(kind: type[msgspec.Struct], *, defaults: bool = True) -> Schema:
    """Return the structural schema of a struct: its fields, what is required, its rules."""
    properties: dict[str, Schema] = {}
    needed: list[str] = []
    texts = field_docs(kind)
    hints = typing.get_type_hints(kind, include_extras=True)
    for field in msgspec.structs.fields(kind):
        if section := SECTIONS.get(field.name) if kind is types.Spec else None:
            schema = struct_schema(section)
        else:
            schema = type_schema(hints[field.name], defaults=defaults)
        if field.required:
            needed.append(field.encode_name)
        elif defaults:
            set_default(schema, field)
        if text := texts.get(field.name):
            schema["description"] = text
        elif section := SECTIONS.get(field.name):
            schema["description"] = doc(section)
        properties[field.encode_name] = schema
    result: Schema = {"type": "object", "description": doc(kind), "properties": properties}
    if needed:
        result["required"] = needed
    if validations := rules(kind):
        result["x-kubernetes-validations"] = validations
    if kind in ATOMIC:
        result["x-kubernetes-map-type"] = "atomic"
    return result


def set_default(schema: Schema, field: msgspec.structs.FieldInfo) -> None:
    """Nested defaults apply only if each parent has `default: {}`."""
    if field.default not in (msgspec.NODEFAULT, None, ()) and field.default != {}:
        is_tuple = isinstance(field.default, tuple)
        schema["default"] = list(field.default) if is_tuple else field.default
    elif field.default_factory is not msgspec.NODEFAULT and field.default_factory not in (
        dict,
        list,
    ):
        if has_defaults(schema):
            schema["default"] = {}
    elif field.name == "training":
        schema["default"] = {}


def has_defaults(schema: Schema) -> bool:
    """Return True if a field of this object has a default."""
    return any("default" in inner for inner in schema.get("properties", {}).values())


def type_schema(hint: Any, *, defaults: bool = True) -> Schema:
    """Return the schema of a type hint."""
    metas = [m for m in getattr(hint, "__metadata__", ()) if isinstance(m, msgspec.Meta)]
    base = typing.get_args(hint)[0] if metas else hint
    schema = base_schema(base, defaults=defaults)
    for meta in metas:
        schema = apply_meta(schema, meta)
    return schema


def base_schema(base: Any, *, defaults: bool) -> Schema:
    """Return the schema of a type without metadata."""
    origin, arguments = typing.get_origin(base), typing.get_args(base)
    if type(None) in arguments:  # X | None
        (inner,) = (argument for argument in arguments if argument is not type(None))
        return type_schema(inner, defaults=defaults)
    if origin is typing.Literal:
        return {"type": "string", "enum": list(arguments)}
    if origin is tuple:
        schema: Schema = {
            "type": "array",
            "items": type_schema(arguments[0], defaults=defaults),
        }
        if arguments[0] is kubernetes.Condition:
            return {**schema, "items": condition_schema(schema["items"]), **CONDITIONS}
        return {**schema, "x-kubernetes-list-type": "atomic"}
    if origin is dict:
        return {
            "type": "object",
            "additionalProperties": type_schema(arguments[1], defaults=defaults),
        }
    if inspect.isclass(base) and issubclass(base, msgspec.Struct):
        return struct_schema(base, defaults=defaults)
    if base is kubernetes.Time:
        return {"type": "string", "format": "date-time"}
    simple = {str: "string", int: "integer", bool: "boolean"}
    if base in simple:
        return {"type": simple[base]}
    return {}  # int | str: its metadata says what it is


def condition_schema(schema: Schema) -> Schema:
    """Return the schema of a condition with the rules of metav1.Condition, which the operator's
    type has not: it is the type of the conditions of Jobs and pods, too.
    """
    properties = {
        name: {**field, **CONDITION_FIELDS.get(name, {})}
        for name, field in schema["properties"].items()
    }
    required = ["type", "status", "reason", "lastTransitionTime"]
    text = "One aspect of the state of the job."
    return {**schema, "description": text, "properties": properties, "required": required}


def apply_meta(schema: Schema, meta: msgspec.Meta) -> Schema:
    """Add bounds to a schema."""
    if meta.extra:
        schema |= copy.deepcopy(meta.extra.get("schema", {}))  # YAML would show shared parts once
    sizes = {"string": "Length", "array": "Items", "object": "Properties"}
    size = sizes.get(schema.get("type", ""), "")
    bounds = {
        "minimum": meta.ge,
        "maximum": meta.le,
        "pattern": meta.pattern,
        f"min{size}": meta.min_length,
        f"max{size}": meta.max_length,
    }
    schema |= {key: value for key, value in bounds.items() if value is not None}
    if meta.extra and (cel := meta.extra.get("cel")):
        validations = [rule(*each) for each in cel]
        schema.setdefault("x-kubernetes-validations", []).extend(validations)
        schema.pop("pattern", None)  # the rule says it in words; a bare pattern does not
    return schema


def rules(kind: type) -> list[Schema]:
    """Return the CEL rules of a struct."""
    return [rule(*each) for each in getattr(kind, "cel", ())]


def rule(expression: str, message: str) -> Schema:
    """Return one CEL validation."""
    return {"rule": expression, "message": message}


def immutability() -> list[Schema]:
    """Return a rule for each section that may not change: add, remove and change are refused."""
    expressions = []
    for name in types.Spec.immutable:
        same = f"has(self.{name}) == has(oldSelf.{name})"
        equal = f"(!has(self.{name}) || self.{name} == oldSelf.{name})"
        message = f"{name} cannot be changed: delete the FineTuneJob, or apply another name"
        expressions.append({**rule(f"{same} && {equal}", message), "fieldPath": f".{name}"})
    return expressions


def input_sizes() -> list[Schema]:
    """Return a rule for each input size in the catalogue, and one for model.inputSize: photos may
    not be stored in fewer pixels than the network takes."""
    suffices = (
        "!has(self.dataset.image) || !has(self.dataset.image.resizeShort) || !has(self.model)"
    )
    short, own = "self.dataset.image.resizeShort", "self.model.inputSize"
    name = (
        "(has(self.model.name) ? self.model.name : has(self.model.source) && "
        "has(self.model.source.architecture) ? self.model.source.architecture : '')"
    )
    expressions = [
        (
            f"{suffices} || !has({own}) || {short} >= {own}",
            "dataset.image.resizeShort is below model.inputSize: remove resizeShort, which is then "
            "8/7 of inputSize",
        )
    ]
    sizes = {entry.input_size for entry in catalogue.entries().values()}
    for size in sorted(sizes):
        names = [n for n, entry in catalogue.entries().items() if entry.input_size == size]
        expressions.append(
            (
                f"{suffices} || has({own}) || {short} >= {size} || !({name} in {names})",
                f"the network takes images of {size} pixels, more than dataset.image.resizeShort: "
                f"remove resizeShort, which is then {stored_size(size)}",
            )
        )
    return [{**rule(*each), "fieldPath": ".dataset.image.resizeShort"} for each in expressions]


def doc(kind: type) -> str:
    """Return a class's own docstring as one line; that of its base speaks of another class."""
    return " ".join((kind.__doc__ or "").split())


@functools.cache
def field_docs(kind: type) -> dict[str, str]:
    """Return the docstrings below a class's fields; Python keeps them only in the source."""
    tree = ast.parse(textwrap.dedent(inspect.getsource(kind)))
    body = typing.cast(ast.ClassDef, tree.body[0]).body
    found: dict[str, str] = {}
    for field, text in itertools.pairwise(body):
        match field, text:
            case (
                ast.AnnAssign(target=ast.Name(id=name)),
                ast.Expr(value=ast.Constant(value=str(words))),
            ):
                found[name] = " ".join(words.split())
    return found


def render() -> str:
    """Return the CRD as YAML."""
    text = "# Generated by `make render` from the types; do not edit.\n"
    return text + yaml.safe_dump(build_crd(), sort_keys=False, width=100)
