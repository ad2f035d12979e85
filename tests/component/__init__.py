"""The operator process against a real kube-apiserver, Job controller and scheduler; the kubelet is
played by patching pod statuses."""
