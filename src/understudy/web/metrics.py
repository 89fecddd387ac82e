"""What this process counts for Prometheus: an own registry, and no tenant or run id as a label."""

from __future__ import annotations

from collections.abc import Sequence

from prometheus_client import CollectorRegistry, Counter, Gauge, Histogram

from understudy.db.database import WriterStats
from understudy.engine.run import QueueRow, WorkerRow

_SECONDS = (0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60)


class Metrics:
    """The numbers of one server. Counters are the process's own: sum them over processes."""

    def __init__(self) -> None:
        self.registry = registry = CollectorRegistry()
        self.requests = Counter(
            "understudy_http_requests",
            "Answers by route, method and status.",
            ("route", "method", "status"),
            registry=registry,
        )
        self.seconds = Histogram(
            "understudy_http_request_seconds",
            "From a request's arrival to the end of its answer; event streams are left out.",
            ("route", "method"),
            buckets=_SECONDS,
            registry=registry,
        )
        self.accepted = Counter(
            "understudy_runs_accepted",
            "Runs that this process accepted; a repeated asking counts as replayed.",
            ("operation", "replayed"),
            registry=registry,
        )
        self.streams = Gauge(
            "understudy_event_streams", "Event streams that are open.", registry=registry
        )
        self.queue = Gauge(
            "understudy_queue_runs",
            "Unfinished runs of the whole installation, by operation and state.",
            ("operation", "state"),
            registry=registry,
        )
        self.waited = Gauge(
            "understudy_queue_wait_seconds",
            "How long the first of the due runs has been waiting.",
            ("operation",),
            registry=registry,
        )
        self.workers = Gauge(
            "understudy_workers", "Processes that drive runs, by their leases.", registry=registry
        )
        self.writer = Gauge(
            "understudy_writer",
            "Totals of this process's group commit: commits, units of work, seconds in commits.",
            ("what",),
            registry=registry,
        )

    def look(
        self,
        queues: Sequence[QueueRow],
        workers: Sequence[WorkerRow],
        writer: WriterStats,
        *,
        now: float,
    ) -> None:
        """Take over what the database says now; an operation without runs is no longer listed."""
        self.queue.clear()
        self.waited.clear()
        waits: dict[str, float] = {}
        for row in queues:
            for state in ("due", "held", "running", "parked"):
                self.queue.labels(row.operation, state).inc(getattr(row, state))
            if row.oldest_due is not None:
                waits[row.operation] = max(waits.get(row.operation, 0.0), now - row.oldest_due)
        for operation, seconds in waits.items():
            self.waited.labels(operation).set(seconds)
        self.workers.set(sum(worker.lease_until > now for worker in workers))
        self.writer.labels("commits").set(writer.commits)
        self.writer.labels("units").set(writer.units)
        self.writer.labels("commit_seconds").set(writer.commit_seconds)
