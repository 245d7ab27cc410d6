// npm run load: the load test (run-load.ts), of which a mistake in what is asked for is one line, as in every command.
import { EXIT_CODES } from '../../common/exit-codes.js';

try {
  await import('./run-load.js');
} catch (error) {
  process.stderr.write(`skein: ${error instanceof Error ? error.message : String(error)}\n`);
  process.exitCode = EXIT_CODES.usage.code;
}
