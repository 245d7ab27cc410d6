// Values of flags are parsed strictly; whatever is refused says what was expected.
import assert from 'node:assert/strict';
import { Command } from 'commander';
import {
  byteSizeOption,
  inOurSpelling,
  integerOption,
  listOption,
  numberOption,
  realOption,
  seedOption,
} from '../../../common/command-line.js';

describe("flags in upstream's spelling", () => {
  const command = new Command('run')
    .option('--model <folder>')
    .option('--tensor-parallel-size <n>')
    .option('--image-paths <path...>')
    .option('--question <text>')
    .option('--no-exif-rotation');

  it('are read as ours, with a value behind them or after an equals sign', () => {
    const args = ['--model_path', 'P', '--image_paths', 'A_B', 'C', '--tensor_parallel_size=4'];
    const ours = ['--model', 'P', '--image-paths', 'A_B', 'C', '--tensor-parallel-size=4'];
    assert.deepEqual(inOurSpelling(args, command), ours);
    assert.deepEqual(inOurSpelling(ours, command), ours);
    assert.deepEqual(inOurSpelling(['--model-path=a_b', '--no_exif_rotation'], command), [
      '--model=a_b',
      '--no-exif-rotation',
    ]);
  });

  it('leave alone what is no flag of the command, and what follows "--"', () => {
    const args = ['--max_tokens', '1', '--question', 'what is --image_paths?', '-m', '--', '--model_path'];
    assert.deepEqual(inOurSpelling(args, command), args);
  });
});

describe('values of flags', () => {
  it('integers are whole, plain and in range', () => {
    const parse = integerOption(0, 10);
    assert.equal(parse('7'), 7);
    for (const bad of ['', '11', '-1', '1.0', '1e1', '0x1', ' 1', '7x'])
      assert.throws(() => parse(bad), /0 to 10/, bad);
  });

  it('numbers are finite', () => {
    assert.deepEqual(['0.5', '.5', '1e-3', '-2'].map(realOption), [0.5, 0.5, 0.001, -2]);
    for (const bad of ['', ' ', 'NaN', 'Infinity', '1,5'])
      assert.throws(() => realOption(bad), /number/, bad);
  });

  it('numbers stay within their bounds', () => {
    const parse = numberOption(0.1, 1);
    assert.deepEqual(['0.1', '1'].map(parse), [0.1, 1]);
    for (const bad of ['0.09', '1.01', '', 'x']) assert.throws(() => parse(bad), /0\.1 to 1/, bad);
  });

  it('seeds keep 64 bits', () => {
    assert.equal(seedOption('18446744073709551615'), 2n ** 64n - 1n);
    for (const bad of ['-1', '1.5', '', '1'.repeat(21)]) assert.throws(() => seedOption(bad), /2\^64/, bad);
  });

  it('byte sizes have one meaning a unit, however it is written', () => {
    const expected: [string, number][] = [
      ['4096', 4096],
      ['64KiB', 65536],
      ['1.5GiB', 1610612736],
      ['10G', 10 * 1024 ** 3],
      ['10GB', 10 * 1024 ** 3],
      ['10GiB', 10 * 1024 ** 3],
      ['512m', 512 * 1024 ** 2],
      ['7B', 7],
    ];
    for (const [text, bytes] of expected) assert.equal(byteSizeOption(text), bytes, text);
    for (const bad of ['', 'GiB', '-1', '0', '1PiB', '1 2', '999999999999TiB'])
      assert.throws(() => byteSizeOption(bad), /bytes/, bad);
  });

  it('lists leave out what is empty', () => {
    assert.deepEqual(listOption('a:1, b:2,,'), ['a:1', 'b:2']);
  });
});
