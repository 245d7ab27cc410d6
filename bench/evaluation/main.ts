// npm run evaluate: the held-out questions at several world sizes and types, one result file. Answers at world size 1
// are what the others are compared with.
import { writeFileSync } from 'node:fs';
import { Command } from 'commander';
import { integerOption } from '../../common/command-line.js';
import {
  kvCacheDtypeOption,
  quantizationOption,
  visionQuantizationOption,
  type KvCacheTypeChoice,
  type QuantizationChoice,
} from '../../coordinator/cluster-options.js';
import { toClusterConfig } from '../../coordinator/config.js';
import { currentCommit, describeMachine } from '../machine.js';
import { evaluate, NANO_FOLDER, readQuestions, type EvaluatedAnswer } from './evaluate.js';

interface Flags {
  readonly worldSizes: string;
  readonly dtypes: string;
  readonly quantization: QuantizationChoice;
  readonly visionQuantization: QuantizationChoice;
  readonly kvCacheDtype: KvCacheTypeChoice;
  readonly visionParallel: 'auto' | 'tensor' | 'data';
  readonly device: 'cpu' | 'cuda';
  readonly concurrency: number;
  readonly ranksPerDevice?: number;
  readonly limit?: number;
  readonly output?: string;
}

const command = new Command('evaluate')
  .option('--world-sizes <list>', 'tensor-parallel sizes', '1,2,4')
  .option('--dtypes <list>', 'compute types', 'float32,bfloat16')
  .addOption(quantizationOption())
  .addOption(visionQuantizationOption())
  .addOption(kvCacheDtypeOption())
  .option('--vision-parallel <mode>', 'auto, tensor or data', 'auto')
  .option('--device <device>', 'cpu or cuda', 'cpu')
  .option('--concurrency <n>', 'questions at once', integerOption(1, 64), 16)
  .option('--ranks-per-device <n>', 'ranks that share a GPU', integerOption(1, 64))
  .option('--limit <n>', 'ask only the first n questions', integerOption(1, 500))
  .option('--output <file>', 'write the results as JSON');
const flags = command.parse().opts<Flags>();

const questions = readQuestions().slice(0, flags.limit);
const results = [];
for (const dtype of flags.dtypes.split(',') as ('float32' | 'bfloat16')[]) {
  let reference: readonly EvaluatedAnswer[] | null = null;
  for (const worldSize of flags.worldSizes.split(',').map(Number)) {
    const cluster = {
      model: NANO_FOLDER,
      tensorParallelSize: worldSize,
      device: flags.device,
      dtype,
      quantization: flags.quantization,
      visionQuantization: flags.visionQuantization,
      kvCacheDtype: flags.kvCacheDtype,
      visionParallel: flags.visionParallel,
      collective: 'auto',
      loadFormat: 'auto',
      maxModelLength: 512,
      maxNumSequences: flags.concurrency,
      maxStepTokens: 512,
      stepTimeout: 300,
      hangTimeout: 60,
      ...(flags.ranksPerDevice === undefined ? {} : { ranksPerDevice: flags.ranksPerDevice }),
    } as const;
    const config = toClusterConfig(cluster);
    const { answers, numRight, generatedTokens, seconds } = await evaluate({
      config,
      questions,
      concurrency: flags.concurrency,
    });
    reference ??= answers;
    const numDifferent = answers.filter(({ answer }, index) => answer !== reference![index]!.answer).length;
    const result = {
      dtype,
      worldSize,
      numQuestions: questions.length,
      numRight,
      accuracy: numRight / questions.length,
      numAnswersThatDifferFromWorldSize1: numDifferent,
      numTokenSequencesThatDiffer: answers.filter(
        ({ tokenIds }, i) => tokenIds.join() !== reference![i]!.tokenIds.join(),
      ).length,
      generatedTokens,
      seconds: Number(seconds.toFixed(1)),
      wrong: answers.filter(({ isRight }) => !isRight).map(({ id, answer }) => ({ id, answer })),
    };
    results.push(result);
    process.stdout.write(
      `${dtype} world size ${worldSize}: ${numRight} of ${questions.length} right, ${numDifferent} answers differ, ` +
        `${(generatedTokens / seconds).toFixed(0)} tokens/s\n`,
    );
  }
}
if (flags.output !== undefined) {
  const { concurrency, visionParallel, device, quantization, visionQuantization, kvCacheDtype } = flags;
  const report = {
    benchmark: 'evaluation',
    model: 'r1v-nano',
    commit: currentCommit(),
    machine: describeMachine(),
    device,
    ...(flags.ranksPerDevice === undefined ? {} : { ranksPerDevice: flags.ranksPerDevice }),
    concurrency,
    visionParallel,
    quantization,
    visionQuantization,
    kvCacheDtype,
    results,
  };
  writeFileSync(flags.output, `${JSON.stringify(report, null, 1)}\n`);
}
