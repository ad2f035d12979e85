"""The images on a real node: real kubelet, real containers, real MXNet, real Prometheus."""
