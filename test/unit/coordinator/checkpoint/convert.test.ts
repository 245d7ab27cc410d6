// Conversion of PyTorch files: the same tensors come out, nothing in a pickle runs, and every broken archive is refused
// by name.
import assert from 'node:assert/strict';
import { existsSync } from 'node:fs';
import { copyFile, mkdir, mkdtemp, readdir, readFile, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import fc from 'fast-check';
import type { ErrorCode } from '../../../../common/errors.js';
import { readCheckpoint } from '../../../../coordinator/checkpoint/checkpoint.js';
import { convertCheckpoint } from '../../../../coordinator/checkpoint/convert.js';
import type { Checkpoint } from '../../../../coordinator/checkpoint/model-spec.js';
import { readSafetensorsHeader } from '../../../../coordinator/checkpoint/safetensors.js';
import { repoRoot } from '../../../support/paths.js';
import { PickleBuilder, stateDict, torchArchive, zipArchive } from './torch-archive.js';

const golden = (name: string): string => join(repoRoot, 'test', 'golden', name);

let scratch: string;
let serial = 0;

before(async () => {
  scratch = await mkdtemp(join(tmpdir(), 'skein-convert-'));
});
after(() => rm(scratch, { recursive: true, force: true }));

async function folderWith(
  bytes: Buffer,
  name = 'pytorch_model.bin',
): Promise<{ model: string; output: string }> {
  const model = join(scratch, `model-${serial++}`);
  await mkdir(model);
  await writeFile(join(model, name), bytes);
  return { model, output: `${model}-out` };
}

async function refuses(bytes: Buffer, message: RegExp, code: ErrorCode = 'CORRUPT_WEIGHTS'): Promise<void> {
  const folders = await folderWith(bytes);
  await assert.rejects(convertCheckpoint(folders), (error: { code?: string; message: string }) => {
    assert.match(error.message, message);
    assert.equal(error.code, code, error.message);
    assert.ok(!error.message.includes('\n') && error.message.includes('pytorch_model.bin'), error.message);
    return true;
  });
  assert.deepEqual(await readdir(folders.output), [], 'nothing is left behind');
}

/** The one tensor that comes out. */
async function convertOne(bytes: Buffer): Promise<{ dtype: string; shape: readonly number[]; data: Buffer }> {
  const folders = await folderWith(bytes);
  await convertCheckpoint(folders);
  const path = join(folders.output, 'model.safetensors');
  const [tensor, ...others] = (await readSafetensorsHeader(path)).tensors;
  assert.ok(tensor !== undefined && others.length === 0);
  const file = await readFile(path);
  return {
    dtype: tensor.dtype,
    shape: tensor.shape,
    data: file.subarray(tensor.dataOffset, tensor.dataOffset + tensor.sizeBytes),
  };
}

const float32 = (values: readonly number[]): Buffer => Buffer.from(Float32Array.from(values).buffer);

describe('conversion', () => {
  it('gives the tensors of tiny-awq-bin as they are in tiny-awq, and a folder that reads', async () => {
    const output = join(scratch, 'awq');
    const { files, copied } = await convertCheckpoint({ model: golden('tiny-awq-bin'), output });
    assert.deepEqual(
      files.map(({ target }) => target),
      ['model-00001-of-00002.safetensors', 'model-00002-of-00002.safetensors'],
    );
    assert.ok(copied.includes('config.json') && copied.includes('tokenizer.json'));
    assert.ok(!existsSync(join(output, 'pytorch_model.bin.index.json')));
    const [converted, original] = [await readCheckpoint(output), await readCheckpoint(golden('tiny-awq'))];
    assert.deepEqual({ ...converted.spec, name: '' }, { ...original.spec, name: '' });
    const [actual, expected] = [await allBytes(converted), await allBytes(original)];
    assert.equal(actual.size, 117);
    for (const [name, bytes] of expected) assert.ok(actual.get(name)?.equals(bytes), name);
  });

  it('writes views in row-major order: transposed, sliced, offset', async () => {
    const values = Array.from({ length: 12 }, (_, index) => index);
    const view = { type: 'FloatStorage', key: '0', numElements: 12 };
    const storages = { 0: float32(values) };
    const transposed = await convertOne(
      torchArchive(stateDict({ t: { ...view, shape: [4, 3], strides: [1, 4] } }), storages),
    );
    assert.deepEqual(transposed.shape, [4, 3]);
    assert.ok(transposed.data.equals(float32([0, 4, 8, 1, 5, 9, 2, 6, 10, 3, 7, 11])));
    const sliced = await convertOne(
      torchArchive(stateDict({ t: { ...view, offset: 1, shape: [2, 2], strides: [6, 2] } }), storages),
    );
    assert.ok(sliced.data.equals(float32([1, 3, 7, 9])));
    const tail = await convertOne(
      torchArchive(stateDict({ t: { ...view, offset: 9, shape: [3], strides: [1] } }), storages),
    );
    assert.ok(tail.data.equals(float32([9, 10, 11])));
  });

  it('writes any permuted view as a plain loop does', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.integer({ min: 1, max: 4 }), { minLength: 1, maxLength: 4 }),
        fc.nat(23),
        async (sizes, seed) => {
          const order = [...sizes.keys()].sort(
            (a, b) => ((a * 7 + seed) % 5) - ((b * 7 + seed) % 5) || a - b,
          );
          const memory: number[] = [];
          sizes.reduceRight((stride, size, axis) => ((memory[axis] = stride), stride * size), 1);
          const shape = order.map((axis) => sizes[axis] ?? 1);
          const strides = order.map((axis) => memory[axis] ?? 1);
          const numElements = sizes.reduce((product, size) => product * size, 1);
          const expected = Array.from({ length: numElements }, (_, flat) => {
            let rest = flat;
            let source = 0;
            for (let axis = shape.length - 1; axis >= 0; axis--) {
              source += (rest % (shape[axis] ?? 1)) * (strides[axis] ?? 0);
              rest = Math.floor(rest / (shape[axis] ?? 1));
            }
            return source;
          });
          const pickle = stateDict({ t: { type: 'FloatStorage', key: '0', numElements, shape, strides } });
          const storage = float32(Array.from({ length: numElements }, (_, index) => index));
          const { data } = await convertOne(torchArchive(pickle, { 0: storage }));
          assert.ok(data.equals(float32(expected)));
        },
      ),
      { numRuns: 25 },
    );
  });

  it('keeps types, reads zip64, and accepts shared storages', async () => {
    const types = {
      HalfStorage: 'F16',
      BFloat16Storage: 'BF16',
      LongStorage: 'I64',
      IntStorage: 'I32',
      ByteStorage: 'U8',
      DoubleStorage: 'F64',
    };
    for (const [type, dtype] of Object.entries(types)) {
      const width = { F16: 2, BF16: 2, I64: 8, I32: 4, U8: 1, F64: 8 }[dtype] ?? 0;
      const pickle = stateDict({ t: { type, key: '0', numElements: 3, shape: [3], strides: [1] } });
      const bytes = Buffer.from(Array.from({ length: 3 * width }, (_, index) => index));
      const tensor = await convertOne(torchArchive(pickle, { 0: bytes }, { zip64: true }));
      assert.equal(tensor.dtype, dtype);
      assert.ok(tensor.data.equals(bytes));
    }
    const view = { type: 'FloatStorage', key: '0', numElements: 2, shape: [2], strides: [1] };
    const folders = await folderWith(
      torchArchive(stateDict({ embed: view, head: view }), { 0: float32([1, 2]) }),
    );
    assert.equal((await convertCheckpoint(folders)).files[0]?.numTensors, 2);
  });
});

async function allBytes({ tensors, files }: Checkpoint): Promise<Map<string, Buffer>> {
  const contents = await Promise.all(files.map(({ path }) => readFile(path)));
  const width = { float32: 4, bfloat16: 2, float16: 2, int32: 4, float8_e4m3: 1 };
  return new Map(
    [...tensors].map(([name, tensor]) => {
      const size = tensor.shape.reduce((product, extent) => product * extent, width[tensor.dataType]);
      const bytes = contents[tensor.fileIndex]?.subarray(tensor.dataOffset, tensor.dataOffset + size);
      assert.ok(bytes !== undefined);
      return [name, bytes];
    }),
  );
}

describe('pickles that are no state dicts', () => {
  const marker = (): string => join(scratch, 'was-run');
  const call = (module: string, name: string): Buffer =>
    torchArchive(
      new PickleBuilder().global(module, name).op('(').string(`touch ${marker()}`).op('tR').stop(),
    );

  for (const [module, name] of [
    ['os', 'system'],
    ['posix', 'system'],
    ['builtins', 'eval'],
    ['builtins', 'exec'],
    ['__builtin__', 'getattr'],
    ['subprocess', 'Popen'],
    ['torch', 'load'],
    ['torch.serialization', 'load'],
    ['torch._utils', '_rebuild_sparse_tensor'],
    ['collections', 'defaultdict'],
    ['torch', '__proto__'],
    ['torch', 'constructor'],
    ['numpy.core.multiarray', '_reconstruct'],
  ] as const) {
    it(`refuses ${module}.${name}`, async () => {
      await refuses(
        call(module, name),
        new RegExp(`the pickle asks for ${module}\\.${name}, which a state dict does not need`),
      );
      assert.ok(!existsSync(marker()));
    });
  }

  it('refuses globals named from the stack, and names that would break a line', async () => {
    const onStack = new PickleBuilder()
      .string('os')
      .string('system')
      .raw(0x93)
      .op('(')
      .string('true')
      .op('tR')
      .stop();
    await refuses(torchArchive(onStack), /asks for os\.system/);
    const newline = new PickleBuilder().string('os\n\u001b[31m').string('x').raw(0x93).stop();
    await refuses(torchArchive(newline), /asks for os\\n\\u001b\[31m\.x/);
  });

  it('refuses opcodes that build objects', async () => {
    for (const opcode of ['i', 'o', 'P', 'R', '\x81', '\x82', '\x92', 'b', '\x98', 'I']) {
      await refuses(torchArchive(new PickleBuilder().op('(').string('a').op(opcode).stop()), /the pickle /);
    }
    await refuses(
      torchArchive(new PickleBuilder().op('Nb').stop()),
      /the pickle takes a value|sets the state of something other than a dictionary/,
    );
    await refuses(
      torchArchive(new PickleBuilder().string('a').raw(0x81).stop()),
      /opcode 0x81 at byte 8, which a state dict does not need/,
    );
    await refuses(
      torchArchive(new PickleBuilder().global('torch', 'FloatStorage').op(')R').stop()),
      /applies torch\.FloatStorage, which is a type/,
    );
  });

  it('refuses an unbounded memo, stack, or program', async () => {
    const repeated = (byte: number, count: number): Buffer => Buffer.alloc(count, byte);
    const pickle = (...parts: Buffer[]): Buffer =>
      torchArchive(Buffer.concat([Buffer.from([0x80, 2]), ...parts]));
    await refuses(pickle(Buffer.from('N'), repeated(0x94, 1_000_002)), /remembers more than 1000000 values/);
    await refuses(pickle(repeated(0x4e, 1_000_002)), /a stack of more than 1000000 values/);
    await refuses(
      pickle(Buffer.from('N'), Buffer.alloc(16_100_000, Buffer.from('q\0'))),
      /is truncated|more than 16000000 opcodes/,
    );
  });

  it('refuses pickles that end early, wherever that is', async () => {
    const whole = stateDict({
      t: { type: 'FloatStorage', key: '0', numElements: 2, shape: [2], strides: [1] },
    });
    for (let length = 0; length < whole.length; length += 7) {
      await refuses(
        torchArchive(whole.subarray(0, length), { 0: float32([1, 2]) }),
        /is truncated|line without end/,
      );
    }
  });

  it('refuses random bytes without any other error', async () => {
    const { readPickle } = await import('../../../../coordinator/checkpoint/torch/pickle.js');
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 80 }), (bytes) => {
        try {
          readPickle(Buffer.from([0x80, 2, ...bytes]), 'random');
        } catch (error) {
          assert.equal((error as { code?: string }).code, 'CORRUPT_WEIGHTS', String(error));
        }
      }),
      { numRuns: 3000 },
    );
  });

  it('refuses views beyond their storage, repeated elements, and what is no tensor', async () => {
    const view = { type: 'FloatStorage', key: '0', numElements: 4, shape: [4], strides: [1] };
    const storages = { 0: float32([1, 2, 3, 4]) };
    const broken = (change: object): Buffer =>
      torchArchive(stateDict({ t: { ...view, ...change } }), storages);
    await refuses(broken({ offset: 1 }), /tensor \[4\] that reaches beyond its storage of 4 elements/);
    await refuses(broken({ strides: [2] }), /reaches beyond/);
    await refuses(broken({ shape: [1_000_000, 1000], strides: [0, 0] }), /reaches beyond/);
    await refuses(broken({ strides: [-1] }), /something other than storage, offset, size and stride/);
    await refuses(broken({ numElements: 5 }), /tensor t: its storage data\/0 has 16 bytes, expected 20/);
    await refuses(broken({ key: '7' }), /tensor t: its storage data\/7 is missing/);
    await refuses(broken({ key: '../0' }), /a storage with the key \.\.\/0/);
    await refuses(
      torchArchive(new PickleBuilder().op('}').string('step').integer(3).op('s').stop()),
      /entry "step" is not a tensor/,
      'UNSUPPORTED_MODEL',
    );
    await refuses(torchArchive(new PickleBuilder().integer(3).stop()), /expected a state dict/);
    const many = Object.fromEntries(
      Array.from({ length: 5000 }, (_, index) => [
        `t${index}`,
        { ...view, numElements: 20_000, shape: [20_000] },
      ]),
    );
    await refuses(torchArchive(stateDict(many), { 0: Buffer.alloc(80_000) }), /more than 4 times the file's/);
  });
});

describe('archives that are broken', () => {
  const whole = torchArchive(
    stateDict({ t: { type: 'FloatStorage', key: '0', numElements: 4, shape: [4], strides: [1] } }),
    { 0: float32([1, 2, 3, 4]) },
  );

  it('refuses every truncation', async () => {
    for (const length of [0, 1, 3, 4, 21, 60, 200, whole.length - 60, whole.length - 22, whole.length - 1]) {
      const code = length > 0 && length < 4 ? 'UNSUPPORTED_MODEL' : 'CORRUPT_WEIGHTS';
      await refuses(whole.subarray(0, length), /is empty|truncated|not a zip archive/, code);
    }
  });

  it('survives any single wrong byte: the same tensors or one typed error', async () => {
    await fc.assert(
      fc.asyncProperty(fc.nat(whole.length - 1), fc.integer({ min: 1, max: 255 }), async (position, flip) => {
        const bytes = Buffer.from(whole);
        bytes[position] = (bytes[position] ?? 0) ^ flip;
        const folders = await folderWith(bytes);
        try {
          await convertCheckpoint(folders);
        } catch (error) {
          assert.ok(
            ['CORRUPT_WEIGHTS', 'UNSUPPORTED_MODEL'].includes((error as { code?: string }).code ?? ''),
            String(error),
          );
        }
      }),
      { numRuns: 120 },
    );
  });

  it('refuses compressed entries, files from before the zip format, and other archives', async () => {
    await refuses(
      torchArchive(stateDict({}), {}, { method: 8 }),
      /compressed or encrypted zip entry "archive\/data\.pkl"/,
    );
    await refuses(
      Buffer.concat([Buffer.from([0x80, 2, 0x8a, 10]), Buffer.alloc(100)]),
      /not a zip archive: written before PyTorch 1\.6/,
      'UNSUPPORTED_MODEL',
    );
    await refuses(
      zipArchive({ 'readme.txt': Buffer.from('hello') }),
      /expected one NAME\/data\.pkl in the archive, found 0/,
    );
    const bigEndian = zipArchive({ 'a/data.pkl': stateDict({}), 'a/byteorder': Buffer.from('big') });
    await refuses(bigEndian, /byte order is "big", expected "little"/, 'UNSUPPORTED_MODEL');
  });

  it('checks the index, the output folder, and what there is to convert', async () => {
    const { model, output } = await folderWith(whole, 'part.bin');
    const index = join(model, 'pytorch_model.bin.index.json');
    await writeFile(index, JSON.stringify({ weight_map: { t: 'part.bin', u: 'part.bin' } }));
    await assert.rejects(convertCheckpoint({ model, output }), {
      code: 'CORRUPT_WEIGHTS',
      message: /part\.bin: tensor u is missing/,
    });
    assert.deepEqual(await readdir(output), []);
    await writeFile(index, JSON.stringify({ weight_map: { t: '../part.bin' } }));
    await assert.rejects(convertCheckpoint({ model, output }), {
      message: /expected the name of a file in the same folder/,
    });
    await copyFile(index, join(output, 'something.json'));
    await writeFile(index, JSON.stringify({ weight_map: { t: 'part.bin' } }));
    await assert.rejects(convertCheckpoint({ model, output }), {
      code: 'INVALID_REQUEST',
      message: /output folder is not empty \(something\.json\)/,
    });
    await assert.rejects(convertCheckpoint({ model, output: model }), { message: /must be another folder/ });
    await assert.rejects(convertCheckpoint({ model: golden('tiny-awq'), output: join(scratch, 'x') }), {
      message: /already safetensors/,
    });
    await assert.rejects(convertCheckpoint({ model: join(scratch, 'absent'), output: join(scratch, 'x') }), {
      code: 'MODEL_NOT_FOUND',
    });
  });
});
