// What Emscripten makes of kernel.cpp.

declare module "*/kernel.cjs" {
  export interface Kernel {
    HEAPU8: Uint8Array<ArrayBuffer>;
    _malloc(bytes: number): number;
    _free(pointer: number): void;
    _set_problem(
      layers: number, dim: number, context: number, distribution: number, softmax: number,
      table: number, entries: number,
    ): void;
    _data_numbers(batch: number): number;
    _key_of_seed(seed: number, index: number, key: number): void;
    _derived_key(key: number, first: number, second: number, derived: number): void;
    _initial_parameters(seed: number, scale: number, parameters: number): void;
    _draw_single(batch: number, key: number, data: number): void;
    _draw_double(batch: number, key: number, data: number): void;
    _loss_and_gradient(batch: number, data: number, parameters: number, gradient: number): number;
    _hessian_times(
      batch: number, data: number, parameters: number, direction: number, result: number,
    ): void;
    _dense_hessian(batch: number, data: number, parameters: number, matrix: number): void;
  }
  export default function createKernel(options: { wasmBinary: ArrayBuffer }): Promise<Kernel>;
}
