"""The Prometheus page of a platform: its totals. Names of models are shown of the first company alone."""

from __future__ import annotations

from collections import Counter
from collections.abc import Collection

from prometheus_client import REGISTRY, Gauge, generate_latest

from headrace.services.learning.http import shown
from headrace.tenant import Tenant

COMPANIES = Gauge("headrace_companies", "Companies that are open")
MESSAGES = Gauge("headrace_log_position", "Messages in the logs of all companies")
RESTARTS = Gauge("headrace_worker_restarts", "Worker processes that died and were started again")
REBUILT = Gauge("headrace_rebuilt", "Damaged state files that were set aside and rebuilt from the log")
PUBLISHED = Gauge("headrace_forecasts_published", "Forecasts sent to output topics since the start")
ALERTS = Gauge("headrace_alerts_active", "Alerts that are raised and not cleared", ["company", "model", "severity"])
WEBHOOKS = Gauge("headrace_webhooks", "Alerts for webhooks: waiting, taken, given up (of those remembered)", ["status"])
DOOR = Gauge("headrace_mqtt", "The MQTT door's counters", ["what"])
STATUSES = ("pending", "sent", "failed")


def page(tenants: Collection[Tenant]) -> bytes:
    """The page, as Prometheus reads it."""
    COMPANIES.set(len(tenants))
    MESSAGES.set(sum(tenant.log.end() for tenant in tenants))
    RESTARTS.set(sum(tenant.learning.restarts for tenant in tenants))
    REBUILT.set(sum(tenant.learning.rebuilt for tenant in tenants))
    PUBLISHED.set(sum(tenant.learning.published for tenant in tenants))
    deliveries: Counter[str] = Counter()
    counts: Counter[str] = Counter()
    alerts: Counter[tuple[str, str, str]] = Counter()
    for tenant in tenants:
        sent = tenant.learning.alerting.deliveries()
        deliveries.update({status: sent[status] for status in STATUSES})
        counts.update(tenant.core.stats())
        for (model, severity), value in tenant.learning.alerting.active(tenant.learning.views.values()).items():
            alerts[tenant.company, shown(tenant.company, model), severity] += value
    ALERTS.clear()
    for (company, model, severity), value in alerts.items():
        ALERTS.labels(company=company, model=model, severity=severity).set(value)
    for status in STATUSES:
        WEBHOOKS.labels(status=status).set(deliveries[status])
    for what, value in counts.items():
        DOOR.labels(what=what).set(value)
    return generate_latest(REGISTRY)
