"""The operator with an API server that cuts it off, refuses it and keeps things from it."""
