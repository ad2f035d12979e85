"""How many requests an API server and an operator have counted, by verb and resource."""

import re
from collections import Counter

from finetune_operator.api import constants as c
from finetune_operator.metrics.process import PREFIX
from prometheus_client.parser import text_string_to_metric_families

from tests.cluster.controlplane import ControlPlane

RESOURCES = (c.PLURAL, "jobs", "pods", "events")
SERIES = re.compile(r"^apiserver_request_total\{(.*)\} (\S+)$", re.MULTILINE)
LABEL = re.compile(r'(\w+)="([^"]*)"')
Counts = Counter[tuple[str, str]]


def answered(plane: ControlPlane) -> Counts:
    """Return how many requests the API server has answered."""
    return count_answered(plane.api.get("/metrics"))


def count_answered(page: str) -> Counts:
    """Count those for RESOURCES on the API server's page of metrics."""
    counts: Counts = Counter()
    for text, value in SERIES.findall(page):  # a parser of everything takes seconds
        labels = dict(LABEL.findall(text))
        if labels["resource"] in RESOURCES:
            parts = (labels["resource"], labels["subresource"])
            counts[labels["verb"], "/".join(filter(None, parts))] += int(float(value))
    return counts


def count_sent(page: str) -> Counts:
    """Count what an operator has sent, by its page of metrics."""
    counts: Counts = Counter()
    for family in text_string_to_metric_families(page):
        for sample in family.samples:
            if sample.name == f"{PREFIX}_api_requests_total":
                counts[sample.labels["verb"], sample.labels["resource"]] += int(sample.value)
    return counts
