"""The chart, the rendered manifests, the dashboards and the alert rules."""
