// Which GPUs a benchmark uses, and what cuda_kernel_bench says of one. Looks at no machine.

/** The first `count` devices as CUDA_VISIBLE_DEVICES would name them. */
export function visibleDevices(list: string | undefined, count: number): string[] {
  const names =
    list === undefined || list === ''
      ? Array.from({ length: count }, (_, index) => String(index))
      : list.split(',').map((name) => name.trim());
  if (names.length < count)
    throw new Error(`${count} GPUs are asked for; CUDA_VISIBLE_DEVICES names ${names.length}: ${list}`);
  return names.slice(0, count);
}

export interface Ceilings {
  readonly readTBps: number;
  readonly bf16TFLOPs: number;
}

interface KernelLine {
  readonly what?: string;
  readonly rows?: number;
  readonly shape?: string;
  readonly us?: number;
  readonly gb_per_s?: number;
}

/** From the lines of `cuda_kernel_bench --only ceilings`. */
export function parseCeilings(output: string): Ceilings {
  const lines = output
    .split('\n')
    .filter((line) => line.startsWith('{'))
    .map((line) => JSON.parse(line) as KernelLine);
  const read = lines.find(({ what }) => what === 'read')?.gb_per_s;
  const product = lines.find(({ what }) => what === 'largest product');
  const [outputs, inputs] = (product?.shape ?? '').split(' x ').map(Number);
  if (read === undefined || product?.us === undefined || product.rows === undefined)
    throw new Error(`cuda_kernel_bench gave no ceilings: ${output}`);
  const operations = 2 * product.rows * (outputs ?? NaN) * (inputs ?? NaN);
  return { readTBps: read / 1e3, bf16TFLOPs: Math.round(operations / product.us / 1e5) / 10 };
}
