// Values are parsed strictly, and every mistake is one line and exit code 2.
import assert from 'node:assert/strict';
import { Command } from 'commander';
import { byteSize, integerIn, numberIn, oneOf, runProgram, uint64 } from '../../../common/command-line.js';
import { AppError } from '../../../common/errors.js';

async function run(
  argv: string[],
  action: () => void = () => undefined,
): Promise<{ code: number; errors: string }> {
  let errors = '';
  const program = new Command('skein');
  program
    .command('run')
    .requiredOption('--tensor-parallel-size <n>', 'ranks', integerIn({ min: 1, max: 64 }))
    .option('--device <device>', 'device', oneOf(['cpu', 'cuda']))
    .action(action);
  const code = await runProgram(program, argv, (text) => (errors += text));
  return { code, errors };
}

describe('command-line values', () => {
  it('integers are whole, plain and in range', () => {
    const parse = integerIn({ min: 0, max: 10 });
    assert.equal(parse('7'), 7);
    for (const bad of ['', '11', '-1', '1.0', '1e1', '0x1', ' 1', '7x'])
      assert.throws(() => parse(bad), /0 to 10/, bad);
  });

  it('numbers are finite and in range', () => {
    const parse = numberIn({ min: 0, max: 2 });
    assert.equal(parse('0.5'), 0.5);
    assert.equal(parse('.5'), 0.5);
    assert.equal(parse('1e-3'), 0.001);
    for (const bad of ['', 'NaN', 'Infinity', '2.1', '-0.1', '0x1', '1,5'])
      assert.throws(() => parse(bad), /0 to 2/, bad);
  });

  it('seeds keep 64 bits', () => {
    assert.equal(uint64('18446744073709551615'), 2n ** 64n - 1n);
    for (const bad of ['18446744073709551616', '-1', '1.5', ''])
      assert.throws(() => uint64(bad), /2\^64/, bad);
  });

  it('byte sizes know binary and decimal units', () => {
    const expected: [string, number][] = [
      ['4096', 4096],
      ['0', 0],
      ['64KiB', 65536],
      ['1.5GiB', 1610612736],
      ['10GB', 10_000_000_000],
      ['10g', 10 * 1024 ** 3],
      ['512 mib', 512 * 1024 ** 2],
      ['7B', 7],
    ];
    for (const [text, bytes] of expected) assert.equal(byteSize(text), bytes, text);
    for (const bad of ['', 'GiB', '-1', '1PiB', '1 2', '9999999999TiB'])
      assert.throws(() => byteSize(bad), /bytes/, bad);
  });

  it('choices are exact', () => {
    assert.equal(oneOf(['cpu', 'cuda'])('cpu'), 'cpu');
    assert.throws(() => oneOf(['cpu', 'cuda'])('CPU'), /one of cpu, cuda/);
  });
});

describe('running a program', () => {
  it('gives 0 for a command that went well', async () => {
    assert.deepEqual(await run(['run', '--tensor-parallel-size', '2']), { code: 0, errors: '' });
  });

  const mistakes: [string, string[], RegExp][] = [
    [
      'an unknown flag',
      ['run', '--tensor-parallel-size', '2', '--devise', 'cpu'],
      /unknown option '--devise'.*--device/,
    ],
    ['an unknown command', ['rum'], /unknown command 'rum'.*run/],
    ['a missing flag', ['run'], /required option '--tensor-parallel-size <n>' not specified/],
    ['a value out of range', ['run', '--tensor-parallel-size', '65'], /'65' is invalid.*integer of 1 to 64/],
    ['a wrong choice', ['run', '--tensor-parallel-size', '2', '--device', 'tpu'], /one of cpu, cuda/],
    ['a missing value', ['run', '--tensor-parallel-size'], /argument missing/],
  ];
  for (const [what, argv, expected] of mistakes) {
    it(`says ${what} in one line and gives 2`, async () => {
      const { code, errors } = await run(argv);
      assert.equal(code, 2);
      assert.match(errors, /^skein: [^\n]+\n$/);
      assert.match(errors, expected);
    });
  }

  it('says a failure with its code in one line and gives 1', async () => {
    const { code, errors } = await run(['run', '--tensor-parallel-size', '2'], () => {
      throw new AppError('CORRUPT_WEIGHTS', 'model.safetensors is cut short:\n 12 bytes');
    });
    assert.equal(code, 1);
    assert.equal(errors, 'skein: model.safetensors is cut short: 12 bytes (CORRUPT_WEIGHTS)\n');
  });
});
