// `skein plan` as a user sees it: the table, the JSON, and one clear line for every mistake.
import assert from 'node:assert/strict';
import { join } from 'node:path';
import { Command } from 'commander';
import { registerPlan } from '../../../../coordinator/commands/plan.js';
import { repoRoot } from '../../../support/paths.js';

async function runPlan(...args: string[]): Promise<string> {
  const program = new Command().exitOverride().configureOutput({ writeErr: () => undefined });
  registerPlan(program);
  program.commands.forEach((command) =>
    command.exitOverride().configureOutput({ writeErr: () => undefined }),
  );
  const written: string[] = [];
  const original = process.stdout.write.bind(process.stdout);
  process.stdout.write = (chunk: string, done?: unknown): boolean => {
    written.push(chunk);
    if (typeof done === 'function') (done as () => void)();
    return true;
  };
  try {
    await program.parseAsync(['plan', ...args], { from: 'user' });
  } finally {
    process.stdout.write = original;
  }
  return written.join('');
}

describe('skein plan', () => {
  it('prints the plan of the 38 B over four ranks with its price', async () => {
    const text = await runPlan('--model', 'skywork-r1v3-38b', '--tensor-parallel-size', '4');
    for (const expected of [
      '38.39 G parameters (38,388,164,992), 76.78 GB as stored',
      "vision tower: tensor (the tower's 11.26 GB are more than 1 GiB: cut over the ranks)",
      '0-9 (10)',
      '0-6 (7)',
      '19-24 (6)',
      '113760-151673 (37914)',
      '262,144 bytes a token',
      '128 all-reduce of 10,240 bytes a sequence, sent as 20,480 of float32',
      '1 all-reduce of 10,240 bytes a sequence, sent as 20,480 of float32',
      '90 all-reduce of 6,560,000 bytes a tile',
      '63.96 GFLOP',
      '+ 1.31 MFLOP per token of context',
      '11.99 TFLOP',
      '3.72 ms a token (269 tokens/s)',
      'at 4.3 TB/s',
    ]) {
      assert.ok(text.includes(expected), `${expected} in\n${text}`);
    }
  });

  it('prices keys and values in FP8 with their scales', async () => {
    const text = await runPlan('--model', 'skywork-r1v3-38b', '--kv-cache-dtype', 'fp8');
    // 2 x 64 layers x 8 KV heads of 128 codes and a float32.
    for (const expected of ['activations in bfloat16, KV cache in FP8', '135,168 bytes a token'])
      assert.ok(text.includes(expected), `${expected} in\n${text}`);
  });

  it('prices FP8 that is made at load by what stays', async () => {
    const text = await runPlan('--model', 'skywork-r1v3-38b', '--quantization', 'fp8');
    for (const expected of [
      'bfloat16, decoder in FP8 once it is loaded',
      '76.78 GB as stored',
      '7.62 ms a token (131 tokens/s)',
    ]) {
      assert.ok(text.includes(expected), `${expected} in\n${text}`);
    }
    assert.doesNotMatch(text, /tower in FP8/);
    const both = await runPlan(
      ...['--model', 'skywork-r1v3-38b', '--quantization', 'fp8', '--vision-quantization', 'fp8'],
    );
    assert.ok(both.includes('decoder in FP8 once it is loaded, vision tower in FP8 once it is loaded'), both);
    // A token reads nothing of the tower.
    assert.ok(both.includes('7.62 ms a token (131 tokens/s)'), both);
  });

  it('prints complete JSON, with slices where asked', async () => {
    const folder = join(repoRoot, 'test', 'golden', 'tiny-awq');
    const plain = JSON.parse(
      await runPlan('--model', folder, '--tensor-parallel-size', '3', '--json'),
    ) as Record<string, unknown>;
    assert.equal(plain['world_size'], 3);
    assert.equal(plain['compute_type'], 'float32');
    const ranks = plain['ranks'] as Record<string, unknown>[];
    assert.deepEqual((ranks[1]?.['layout'] as Record<string, unknown>)['q_to_kv'], [0, 1, 1]);
    assert.equal(ranks[0]?.['slices'], undefined);
    assert.ok((ranks[0]?.['load'] as Record<string, number>)['peak_bytes']! > 0);
    const full = JSON.parse(
      await runPlan('--model', folder, '--tensor-parallel-size', '3', '--json', '--slices'),
    ) as typeof plain;
    const [first] = full['ranks'] as {
      slices: { source_name: string }[];
      tensors: object[];
      read_bytes: number;
    }[];
    assert.equal(first?.slices[0]?.source_name, 'language_model.model.embed_tokens.weight');
  });

  it('takes the bandwidth into the roofline', async () => {
    const roofline = async (bandwidth: string): Promise<{ decode_ms: number }> =>
      (
        JSON.parse(await runPlan('--model', 'qwen2.5-7b', '--json', '--memory-bandwidth', bandwidth)) as {
          roofline: { decode_ms: number };
        }
      ).roofline;
    assert.ok(Math.abs((await roofline('2')).decode_ms / (await roofline('4')).decode_ms - 2) < 1e-9);
  });

  it('refuses what cannot be, in one line', async () => {
    await assert.rejects(runPlan('--model', 'skywork-r1v3-38b', '--tensor-parallel-size', '41'), {
      message: /40 query heads .* sizes that fit: 1-40$/,
    });
    await assert.rejects(runPlan('--model', 'no-such-model'), {
      code: 'MODEL_NOT_FOUND',
      message: /skywork-r1v3-38b, /,
    });
    await assert.rejects(runPlan('--model', 'qwen2.5-7b', '--tensor-parallel-size', 'two'), {
      code: 'commander.invalidArgument',
    });
    await assert.rejects(runPlan('--model', 'qwen2.5-7b', '--memory-bandwidth', '0'), {
      code: 'commander.invalidArgument',
    });
    await assert.rejects(runPlan('--model', 'qwen2.5-7b', '--tensor-paralel-size', '2'), {
      code: 'commander.unknownOption',
    });
  });
});
