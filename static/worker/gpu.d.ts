/** TypeScript's WebWorker library has the types of WebGPU, but not its flags. */
declare const GPUBufferUsage: {
  readonly COPY_SRC: number;
  readonly COPY_DST: number;
  readonly STORAGE: number;
  readonly UNIFORM: number;
  readonly MAP_READ: number;
};
declare const GPUMapMode: { readonly READ: number };
