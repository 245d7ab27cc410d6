// npm run load: the load test (load-test.ts), of which a mistake in what is asked for is one line, as in every command.
import { EXIT_CODES } from '../../common/exit-codes.js';
import { LoadTest } from './load-test.js';

function open(): LoadTest | null {
  try {
    return new LoadTest(process.argv.slice(2));
  } catch (error) {
    process.stderr.write(`skein: ${error instanceof Error ? error.message : String(error)}\n`);
    process.exitCode = EXIT_CODES.usage.code;
    return null;
  }
}

await open()?.run();
