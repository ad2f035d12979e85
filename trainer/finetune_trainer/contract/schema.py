"""The trainer contract as one JSON schema, for other trainer images, and for tests."""

import json

import msgspec

from finetune_trainer.contract import Job, Progress, Termination


def contract_schema() -> str:
    """Return the schema of FINETUNE_JOB, /progress and the termination message."""
    references, definitions = msgspec.json.schema_components(
        (Job, Progress, Termination), ref_template="#/$defs/{name}"
    )
    schema = {
        "$schema": "https://json-schema.org/draft/2020-12/schema",
        "title": "The trainer contract of finetune-operator",
        "description": "Job: the environment variable FINETUNE_JOB. Progress: the body of "
        "GET /progress. Termination: the content of /dev/termination-log.",
        "anyOf": list(references),
        "$defs": dict(sorted(definitions.items())),
    }
    return json.dumps(schema, indent=2) + "\n"
