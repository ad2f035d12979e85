"""The dashboards' PromQL: one named function per query, apart from the panels that show it."""
