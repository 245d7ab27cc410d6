// Goal: a setting means the same wherever it stands, the nearest place wins, and a wrong value is refused by the name
// that the user wrote it under.
import assert from 'node:assert/strict';
import { Command, InvalidArgumentError, Option } from 'commander';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import path from 'node:path';
import { integerOption, listOption } from '../../../common/command-line.js';
import { addSettingsOption, applySettings, type Environment } from '../../../common/settings.js';

describe('settings', () => {
  let folder: string;
  before(() => {
    folder = mkdtempSync(path.join(tmpdir(), 'skein-settings-'));
  });
  after(() => rmSync(folder, { recursive: true }));

  function file(content: unknown): string {
    const name = path.join(folder, 'settings.json');
    writeFileSync(name, typeof content === 'string' ? content : JSON.stringify(content));
    return name;
  }

  function parse(args: string[], environment: Environment = {}): Record<string, unknown> {
    const command = addSettingsOption(
      new Command('serve')
        .exitOverride()
        .configureOutput({ outputError: () => undefined })
        .requiredOption('--model <folder>', 'a folder')
        .option('--max-num-sequences <n>', 'a number', integerOption(1, 64), 16)
        .option('--workers <addresses>', 'a list', listOption)
        .addOption(new Option('--device <device>', 'a choice').choices(['cpu', 'cuda']).default('cpu'))
        .option('--deterministic', 'a switch')
        .option('--no-cuda-graphs', 'a switch that is on')
        .addOption(new Option('--lifeline').hideHelp()),
    );
    applySettings(command, { args, environment });
    command.parse(args, { from: 'user' });
    const values = command.opts<Record<string, unknown>>();
    delete values['settings'];
    return values;
  }

  function refusal(args: string[], environment: Environment = {}): string {
    try {
      parse(args, environment);
    } catch (error) {
      assert.ok(error instanceof InvalidArgumentError, String(error));
      return error.message;
    }
    return assert.fail('was taken');
  }

  it('come from flag, environment, file and default, in that order', () => {
    const settings = file({ model: 'file', 'max-num-sequences': 3, device: 'cuda', workers: ['a:1', 'b:2'] });
    const environment = {
      SKEIN_MODEL: 'environment',
      SKEIN_MAX_NUM_SEQUENCES: '4',
      SKEIN_SETTINGS: settings,
    };
    assert.deepEqual(parse(['--model', 'flag'], environment), {
      model: 'flag',
      maxNumSequences: 4,
      device: 'cuda',
      workers: ['a:1', 'b:2'],
      cudaGraphs: true,
    });
    assert.equal(parse([], environment)['model'], 'environment');
    assert.equal(parse([`--settings=${settings}`])['model'], 'file');
    assert.equal(parse(['--settings', settings], { SKEIN_SETTINGS: '/nowhere' })['maxNumSequences'], 3);
    assert.equal(parse(['--model', 'x'])['maxNumSequences'], 16);
  });

  it('of switches are true or false in words, both ways', () => {
    const of = (environment: Environment) => parse(['--model', 'x'], environment);
    assert.equal(of({ SKEIN_DETERMINISTIC: 'true' })['deterministic'], true);
    assert.equal(of({ SKEIN_DETERMINISTIC: '0' })['deterministic'], false);
    assert.equal(of({ SKEIN_CUDA_GRAPHS: 'false' })['cudaGraphs'], false);
    assert.equal(
      parse(['--model', 'x', '--no-cuda-graphs'], { SKEIN_CUDA_GRAPHS: 'true' })['cudaGraphs'],
      false,
    );
    assert.equal(parse(['--settings', file({ model: 'x', deterministic: true })])['deterministic'], true);
  });

  it('that are empty count as absent; variables of others are left alone', () => {
    const environment = {
      SKEIN_MAX_NUM_SEQUENCES: '',
      SKEIN_SERVICE_HOST: '10.0.0.1',
      SKEIN_LIFELINE: 'true',
    };
    assert.deepEqual(parse(['--model', 'x'], environment), {
      ...{ model: 'x', maxNumSequences: 16, device: 'cpu', cudaGraphs: true },
    });
  });

  it('take underscores in a file', () => {
    assert.equal(parse(['--settings', file({ model: 'x', max_num_sequences: 5 })])['maxNumSequences'], 5);
  });

  it('that are wrong are refused by the name they were written under', () => {
    const model = ['--model', 'x'];
    assert.match(
      refusal(model, { SKEIN_MAX_NUM_SEQUENCES: '65' }),
      /^SKEIN_MAX_NUM_SEQUENCES: "65": .* 1 to 64$/,
    );
    assert.match(refusal(model, { SKEIN_DEVICE: 'tpu' }), /^SKEIN_DEVICE: "tpu": .*cpu, cuda$/);
    assert.match(
      refusal(model, { SKEIN_DETERMINISTIC: 'maybe' }),
      /^SKEIN_DETERMINISTIC: expected true or false$/,
    );
    for (const [content, message] of [
      [{ 'max-num-sequences': 1.5 }, /settings\.json: max-num-sequences: "1\.5": /],
      [{ modle: 'x' }, /modle is no setting of skein serve/],
      [{ lifeline: true }, /lifeline is no setting/],
      [{ settings: 'x' }, /settings is no setting/],
      [{ model: null }, /model must be a string/],
      [{ model: { a: 1 } }, /model must be a string/],
      [['model'], /JSON object/],
      ['{', /cannot be read/],
    ] as const)
      assert.match(refusal([...model, '--settings', file(content)]), message);
    assert.match(refusal([...model, '--settings', '/nowhere/x.json']), /cannot be read: .*ENOENT/);
  });
});
