"""The report as one HTML page: self-contained, no script, no network. Imports no MXNet."""
