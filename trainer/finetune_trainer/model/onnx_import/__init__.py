"""From an ONNX file to an MXNet network. MXNet's own importer fails on today's files."""
