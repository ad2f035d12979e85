/* Stands in for NVIDIA's driver library where there is no driver.
 *
 * libmxnet.so of the CUDA build is linked with -z now: without a libcuda.so.1 that defines these
 * symbols not even `import mxnet` works. Each call reports CUDA_ERROR_NO_DEVICE, so MXNet counts
 * 0 GPUs and the trainer can say what is wrong. The image keeps it in the last folder that the
 * loader looks at: a real driver, wherever it is mounted, is found first.
 */
enum { CUDA_ERROR_NO_DEVICE = 100 };

#define NO_DEVICE(name) int name(void) { return CUDA_ERROR_NO_DEVICE; }

NO_DEVICE(cuInit)
NO_DEVICE(cuDeviceGet)
NO_DEVICE(cuDevicePrimaryCtxRetain)
NO_DEVICE(cuGetErrorString)
NO_DEVICE(cuGraphKernelNodeGetParams)
NO_DEVICE(cuGraphNodeGetType)
NO_DEVICE(cuLaunchKernel)
NO_DEVICE(cuModuleGetFunction)
NO_DEVICE(cuModuleLoadData)
NO_DEVICE(cuModuleLoadDataEx)
NO_DEVICE(cuModuleUnload)
