#!/bin/sh
# Removes from the trainer's virtual environment what no run of it opens. tests/images loads every
# library that is left, and tests/e2e trains with the image.
set -eu
cd /opt/venv/lib/python3.11/site-packages
# What compilers and type checkers read.
rm -rf mxnet/include numpy/core/include nvidia/*/include
find . -type f \( -name '*.a' -o -name '*.h' -o -name '*.c' -o -name '*.pyx' -o -name '*.pxd' -o -name '*.pyi' \) -delete
# The packages' own tests.
rm -rf numpy/*/tests numpy/*/*/tests ml_dtypes/tests onnx/backend/test onnx/test
# Tools that prepare models for onnxruntime; the trainer checks and predicts.
rm -rf onnxruntime/transformers onnxruntime/tools onnxruntime/quantization onnxruntime/datasets
# onnxruntime a second time, for programs in C: Python's module has it built in, and needs it not.
rm -f onnxruntime/capi/libonnxruntime.so.*
# The APIs of AWS but S3 and those that give out its credentials.
find botocore/data -mindepth 1 -maxdepth 1 -type d \
    ! -name s3 ! -name sts ! -name sso ! -name sso-oidc ! -name signin -exec rm -r {} +
# NVIDIA's wheels and tensorboardX require setuptools, wheel and packaging; nothing imports them.
rm -rf setuptools setuptools-* _distutils_hack distutils-precedence.pth wheel wheel-* packaging packaging-*
# Libraries of CUDA that no file in the image needs or names; see docs/gpu.md.
rm -f nvidia/*/lib/libcusolverMg.so.* nvidia/*/lib/libnvblas.so.* nvidia/*/lib/libcufftw.so.* nvidia/*/lib/libOpenCL.so.*
# Symbols for debuggers: of some wheels nine tenths. CUDA's are without, and too large to look at.
find . -type f \( -name '*.so' -o -name '*.so.[0-9]*' \) ! -path './nvidia/*' -exec strip --strip-unneeded {} +
