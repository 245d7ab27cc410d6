// `skein convert`: PyTorch .bin files to safetensors, once, into a new folder.
import type { Command } from 'commander';
import { convertCheckpoint } from '../checkpoint/convert.js';

export function registerConvert(program: Command): void {
  program
    .command('convert')
    .description('convert PyTorch .bin weights to safetensors; no code in the files is run')
    .requiredOption('--model <folder>', 'checkpoint folder with .bin files')
    .requiredOption('--output <folder>', 'new folder for the converted checkpoint')
    .action(async ({ model, output }: { model: string; output: string }) => {
      const { files, copied } = await convertCheckpoint({
        model,
        output,
        onFile: ({ source, target, numTensors, tensorBytes }) => {
          process.stdout.write(
            `${source} -> ${target}: ${numTensors} tensors, ${(tensorBytes / 1e6).toFixed(2)} MB\n`,
          );
        },
      });
      process.stdout.write(
        `converted ${files.length} weight files into ${output}, copied ${copied.length} others\n`,
      );
    });
}
