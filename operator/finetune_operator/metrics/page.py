"""All metrics of one operator process, and the page that Prometheus scrapes."""

import asyncio
from collections.abc import Callable

from prometheus_client import CollectorRegistry, disable_created_metrics, exposition

from finetune_operator.metrics.job_series import JobSeries
from finetune_operator.metrics.process import Process
from finetune_operator.metrics.totals import Totals
from finetune_operator.observe.cache import Cache
from finetune_operator.settings import Settings

END = b"# EOF\n"


class Metrics:
    """All metrics. Only the leader has those of jobs, so each job appears once."""

    def __init__(
        self,
        cache: Cache,
        *,
        leading: Callable[[], bool] = lambda: True,
        job_limit: int = Settings.metrics_job_limit,
    ) -> None:
        disable_created_metrics()  # type: ignore[no-untyped-call]
        self.registry = CollectorRegistry()
        self.process = Process(self.registry, leading)
        self.totals = Totals(self.registry, cache, leading)
        self.series = JobSeries(cache, limit=job_limit, leading=leading)
        self.process.unreadable.set_function(lambda: len(cache.unreadable) if leading() else 0)
        self.process.without_series.set_function(lambda: self.series.left_out)

    async def page(self, accept: str = "") -> tuple[bytes, str]:
        """Return the page in the format that is asked for, and its content type.

        A family of thousands of jobs is written at a time: probes and workers go on in between.
        """
        encode, content_type = exposition.choose_encoder(accept)
        openmetrics = content_type.startswith("application/openmetrics-text")
        parts = [encode(self.registry).removesuffix(END)]
        for family in self.series.families(openmetrics=openmetrics):
            parts.append(family.encode())
            await asyncio.sleep(0)
        return b"".join(parts) + (END if openmetrics else b""), content_type
