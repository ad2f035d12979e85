#!/bin/sh
# Removes from the operator's virtual environment what no run of it opens. tests/images loads every
# library that is left, and tests/e2e runs the image.
set -eu
cd /opt/venv/lib/python3.11/site-packages
# What compilers and type checkers read.
find . -type f \( -name '*.a' -o -name '*.h' -o -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' \) -delete
# The client's classes of all groups and kinds, which it imports when they are named. The operator
# asks for paths and decodes the answers itself; three classes are named by the client's own modules.
find kubernetes/client/api kubernetes/client/models kubernetes/aio/client/api kubernetes/aio/client/models -name '*.py' \
    ! -name __init__.py ! -name v1_managed_fields_entry.py ! -name v1_object_meta.py ! -name v1_owner_reference.py -delete
# Symbols for debuggers.
find . -type f \( -name '*.so' -o -name '*.so.[0-9]*' \) -exec strip --strip-unneeded {} +
