// A copy of an AWQ checkpoint in which some linears are the plain float32 weights that their packed form stands for.
import { mkdtemp, open, readdir, copyFile, readFile, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { readCheckpoint } from '../../coordinator/checkpoint/checkpoint.js';
import {
  DATA_TYPE_BYTES,
  type Checkpoint,
  type SourceTensor,
} from '../../coordinator/checkpoint/model-spec.js';
import { writeSafetensors, type TensorToWrite } from '../../coordinator/checkpoint/safetensors-writer.js';

const DTYPES = {
  float32: 'F32',
  bfloat16: 'BF16',
  float16: 'F16',
  int32: 'I32',
  float8_e4m3: 'F8_E4M3',
} as const;
/** Column 8 w + j of word w is at this bit. */
const BIT_OF_COLUMN = [0, 16, 4, 20, 8, 24, 12, 28];

/** `excepted` becomes modules_to_not_convert. The folder is the caller's to remove. */
export async function copyWithDenseLinears(
  folder: string,
  isDense: (prefix: string) => boolean,
  excepted: readonly string[],
): Promise<string> {
  const checkpoint = await readCheckpoint(folder);
  const copy = await mkdtemp(path.join(tmpdir(), 'skein-dense-'));
  for (const name of await readdir(folder))
    if (!/\.(?:safetensors|index\.json)$/.test(name))
      await copyFile(path.join(folder, name), path.join(copy, name));
  const config = JSON.parse(await readFile(path.join(folder, 'config.json'), 'utf8')) as Record<
    string,
    unknown
  >;
  const isAnyPacked = [...checkpoint.tensors.keys()].some(
    (name) => name.endsWith('.qweight') && !isDense(name.slice(0, -'.qweight'.length)),
  );
  const quantization = { quant_method: 'awq', bits: 4, group_size: checkpoint.spec.text.awqGroupSize };
  delete config['quantization_config'];
  if (isAnyPacked) config['quantization_config'] = { ...quantization, modules_to_not_convert: excepted };
  await writeFile(path.join(copy, 'config.json'), JSON.stringify(config));
  const tensors: TensorToWrite[] = [];
  for (const tensor of checkpoint.tensors.values()) {
    const match = /^(.*)\.(qweight|qzeros|scales)$/.exec(tensor.name);
    if (match === null || !isDense(match[1]!)) {
      tensors.push(toWrite(tensor.name, tensor, tensor.shape, await bytesOf(checkpoint, tensor)));
    } else if (match[2] === 'qweight') {
      tensors.push(await dequantised(checkpoint, match[1]!));
    }
  }
  await writeSafetensors(path.join(copy, 'model.safetensors'), tensors);
  return copy;
}

function toWrite(
  name: string,
  { dataType }: Pick<SourceTensor, 'dataType'>,
  shape: readonly number[],
  bytes: Buffer,
): TensorToWrite {
  return {
    name,
    dtype: DTYPES[dataType],
    shape,
    sizeBytes: bytes.length,
    elementBytes: DATA_TYPE_BYTES[dataType],
    async *read() {
      yield await Promise.resolve(bytes);
    },
  };
}

async function bytesOf({ files }: Checkpoint, tensor: SourceTensor): Promise<Buffer> {
  const size = tensor.shape.reduce((product, side) => product * side, DATA_TYPE_BYTES[tensor.dataType]);
  const file = await open(files[tensor.fileIndex]!.path);
  try {
    const bytes = Buffer.alloc(size);
    await file.read(bytes, 0, size, tensor.dataOffset);
    return bytes;
  } finally {
    await file.close();
  }
}

/** [in, out / 8] words, [groups, out / 8] zeros and [groups, out] scales to [out, in] weights. */
async function dequantised(checkpoint: Checkpoint, prefix: string): Promise<TensorToWrite> {
  const read = async (suffix: string) => {
    const tensor = checkpoint.tensors.get(`${prefix}.${suffix}`)!;
    return { tensor, bytes: await bytesOf(checkpoint, tensor) };
  };
  const [words, zeros, scales] = [await read('qweight'), await read('qzeros'), await read('scales')];
  const [numIn, numWords] = words.tensor.shape as [number, number];
  const groupSize = numIn / zeros.tensor.shape[0]!;
  const weight = new Float32Array(numWords * 8 * numIn);
  const nibble = ({ bytes }: { readonly bytes: Buffer }, row: number, column: number): number =>
    (bytes.readUInt32LE(4 * (row * numWords + (column >> 3))) >>> BIT_OF_COLUMN[column & 7]!) & 15;
  for (let row = 0; row < numIn; row++) {
    const group = Math.floor(row / groupSize);
    for (let column = 0; column < numWords * 8; column++) {
      const scale = halfToNumber(scales.bytes.readUInt16LE(2 * (group * numWords * 8 + column)));
      weight[column * numIn + row] = (nibble(words, row, column) - nibble(zeros, group, column)) * scale;
    }
  }
  const shape = [numWords * 8, numIn];
  return toWrite(`${prefix}.weight`, { dataType: 'float32' }, shape, Buffer.from(weight.buffer));
}

function halfToNumber(bits: number): number {
  const [exponent, fraction] = [(bits >> 10) & 31, bits & 1023];
  const size = exponent === 0 ? fraction * 2 ** -24 : (1 + fraction / 1024) * 2 ** (exponent - 15);
  return bits & 0x8000 ? -size : size;
}
