"""`make demo`: one command from a bare machine to a trained classifier, in a real cluster."""
