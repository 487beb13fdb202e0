/** Tensors of our own on a GPU. */
import type { OrtModule, Tensor } from './ort';

/** The numbers of a tensor on a GPU. */
export type FloatType = 'float32' | 'float16';

export const TYPE_BYTES: Readonly<Record<FloatType, number>> = { float32: 4, float16: 2 };

/** Disposing of it frees the buffer. */
export function gpuTensor(
  ort: OrtModule,
  gpu: GPUDevice,
  type: FloatType,
  dims: readonly number[],
): Tensor {
  const usage = GPUBufferUsage.STORAGE | GPUBufferUsage.COPY_SRC | GPUBufferUsage.COPY_DST;
  const buffer = gpu.createBuffer({ size: bytesOf(type, dims), usage });
  const dispose = () => {
    buffer.destroy();
  };
  return ort.Tensor.fromGpuBuffer(buffer, { dataType: type, dims, dispose });
}

/** Bytes of the buffer of a tensor; ONNX Runtime binds it in steps of 16. */
function bytesOf(type: FloatType, dims: readonly number[]): number {
  const bytes = dims.reduce((product, size) => product * size, TYPE_BYTES[type]);
  return Math.ceil(bytes / 16) * 16;
}
