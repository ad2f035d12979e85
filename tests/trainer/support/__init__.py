"""Data sets, networks, weights files, jobs and pods for the trainer's tests. No test is here."""
