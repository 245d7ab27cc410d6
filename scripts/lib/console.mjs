// What the scripts say: one line a step on stderr (stdout belongs to what a command prints), with progress that
// rewrites its line on a terminal and is thinned out in a log. SetupError is a failure with one clear line and no
// stack.

export class SetupError extends Error {
  /** @param {string} message one line @param {string[]} more lines that help: a command, the tail of a log */
  constructor(message, more = []) {
    super(message);
    this.name = 'SetupError';
    this.more = more;
  }
}

const PROGRESS_INTERVAL_MS = 10_000;

export class Reporter {
  constructor(stream = process.stderr, nowMs = () => performance.now()) {
    this.stream = stream;
    this.nowMs = nowMs;
    this.hasOpenLine = false;
    this.lastProgressMs = -Infinity;
  }

  line(text) {
    this.endProgress();
    this.stream.write(`${text}\n`);
  }

  /** A step begins; its progress may follow. */
  step(text) {
    this.line(`skein: ${text}`);
    this.lastProgressMs = this.nowMs();
  }

  progress(text) {
    const width = (this.stream.columns ?? 100) - 1;
    if (this.stream.isTTY) {
      this.stream.write(`\r\x1b[K  ${text}`.slice(0, width + 4));
      this.hasOpenLine = true;
    } else if (this.nowMs() - this.lastProgressMs >= PROGRESS_INTERVAL_MS) {
      this.stream.write(`  ${text}\n`);
      this.lastProgressMs = this.nowMs();
    }
  }

  endProgress() {
    if (this.hasOpenLine) this.stream.write('\r\x1b[K');
    this.hasOpenLine = false;
  }

  failure(error) {
    this.endProgress();
    if (!(error instanceof SetupError)) {
      this.stream.write(`skein: internal error: ${error instanceof Error ? error.stack : String(error)}\n`);
      return;
    }
    for (const line of error.more) this.stream.write(`  ${line}\n`);
    this.stream.write(`skein: ${error.message}\n`);
  }
}
