"""The chart, the rendered manifests, the dashboard and the alert rules."""
