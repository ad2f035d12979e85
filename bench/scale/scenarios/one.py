"""One object alone, some times: the requests of every client, and the bytes that stay in etcd."""

import asyncio
import base64
import json
import tempfile
import urllib.request
from collections import Counter
from pathlib import Path
from urllib.parse import urlsplit

from bench.population import NAMESPACE
from bench.scale.bench import SETTLE_SECONDS, Bench, Setup, running
from bench.scale.figures import REQUESTS, Row, quantiles
from bench.scale.scenarios.options import Options
from bench.scale.work import Work
from tests.support import audit, release

TIMES = 5
OPERATOR = f"system:serviceaccount:{release.NAMESPACE}:"
BENCH = "aiohttp"
"""What the user agent of the bench's own requests has; the operator is known by its user."""
ETCD_KEYS = {
    "FineTuneJob": f"/registry/finetune-operator.dev/finetunejobs/{NAMESPACE}/",
    "Job": f"/registry/jobs/{NAMESPACE}/",
    "pod": f"/registry/pods/{NAMESPACE}/",
    "Events": f"/registry/events/{NAMESPACE}/",
}
Counts = Counter[str]


async def measure(work: Work, options: Options) -> Row:
    """Return the requests of one object, the median of some, and its bytes in etcd."""
    with tempfile.TemporaryDirectory() as directory:
        log = Path(directory) / "audit.log"
        async with running(work, Setup(pods=TIMES, audit_log=log)) as bench:
            each = [await one(bench, log) for _ in range(TIMES)]
            sizes = await asyncio.to_thread(bytes_in_etcd, bench)
            latencies = bench.latencies(unit="ms")
    typical = {key: int(_median([c[key] for c in each])) for key in sorted(set().union(*each))}
    return Row(
        scenario="one",
        work=work.name,
        revision=work.revision,
        jobs=1,
        figures=latencies | {REQUESTS: sum(typical.values()), **sizes},
        requests=typical,
    )


async def one(bench: Bench, log: Path) -> Counts:
    """Create one object, and return the requests until all is quiet again."""
    before = count(log)
    await (await bench.create(1)).are_done()
    await asyncio.sleep(SETTLE_SECONDS)
    return count(log) - before


def count(log: Path) -> Counts:
    """Count the requests so far by client, verb and resource; watches and Leases are no one's."""
    return Counter(
        f"{client}: {request.right[2]} {request.right[1]}"
        for request in audit.requests(log)
        if request.right[2] != "watch"
        and request.right[1] != "leases"
        and (client := client_of(request))
    )


def client_of(request: audit.Request) -> str:
    """Return who it was, nothing for the bench's own reads."""
    if request.user.startswith(OPERATOR):
        return "operator"
    if request.user.startswith("system:"):
        return request.user.rpartition(":")[2]
    if BENCH in request.agent:
        return "user" if request.right[2] == "create" else ""
    return request.agent.partition("/")[0]


def bytes_in_etcd(bench: Bench) -> dict[str, float]:
    """Return the bytes of the values of one object, and of what belongs to it."""
    sizes = {kind: _bytes(bench, prefix) / TIMES for kind, prefix in ETCD_KEYS.items()}
    return {f"{kind} in etcd, bytes": size for kind, size in sizes.items() if size}


def _bytes(bench: Bench, prefix: str) -> int:
    """Ask etcd itself: its values are not what the API answers."""
    key, end = prefix.encode(), prefix[:-1].encode() + b"0"  # the first key behind them
    names = {"key": key, "range_end": end}
    body = json.dumps({name: base64.b64encode(text).decode() for name, text in names.items()})
    address = f"http://{urlsplit(bench.plane.url).hostname}:2379/v3/kv/range"
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
    with opener.open(address, body.encode(), timeout=10) as answer:
        found = json.load(answer).get("kvs", [])
    return sum(len(base64.b64decode(each["value"])) for each in found)


def _median(values: list[int]) -> float:
    return quantiles("", values, unit="")[" p50, "]
