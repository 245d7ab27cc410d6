// Reads how C++ files use CUDA streams, and says what gets round cuda::Stream (native/cuda/stream.h): kernels that
// overlap are safe only if everything that is not ours is placed behind a fence.

/** Where a bare stream may be named: the type itself, what launches, and the library calls of the communicators. */
const NAMES_BARE_STREAMS =
  /^native\/(cuda\/stream\.(h|cc)|cuda\/kernels\/launch\.cuh|collective\/nccl_[a-z_]+\.cc)$/;
const LAUNCHES = /^native\/cuda\/kernels\/launch\.cuh$/;

/** What the driver itself keeps in order, whatever the kernel in front allows. */
const DRIVER_CALLS =
  /\b(cudaMemcpy(2D)?Async|cudaMemsetAsync|cudaEventRecord|cudaStreamWaitEvent|cudaStreamSynchronize|cudaStreamQuery|cudaGraphLaunch|cudaGraphUpload|cudaStream(Begin|End)Capture)\s*\(/;
/** Libraries' kernels; those of a product go without a fence only where they are known to be launched plainly. */
const LIBRARY_CALLS = /\b(nccl[A-Z]\w*|cublasLt[A-Z]\w*)\s*\(/;
const PLAIN_LIBRARY_CALLS = /\bcublasLtMatmul\s*\(/;

/** The text with comments and literals blanked, so that only code is read. */
function codeOf(text: string): string {
  return text.replace(/\/\/[^\n]*|\/\*[\s\S]*?\*\/|"(?:\\.|[^"\\\n])*"/g, (match) =>
    match.replace(/[^\n]/g, ' '),
  );
}

/** The statement that holds `index`, from the one before to its own end. */
function statementAt(code: string, index: number): string {
  const begin = Math.max(...[';', '{', '}'].map((end) => code.lastIndexOf(end, index))) + 1;
  const end = code.indexOf(';', index);
  return code.slice(begin, end < 0 ? code.length : end);
}

/** What one file does with streams that it must not, as sentences. */
export function streamViolations(file: string, text: string): string[] {
  const code = codeOf(text);
  const violations: string[] = [];
  const report = (index: number, what: string) => {
    violations.push(`${file}:${String(code.slice(0, index).split('\n').length)} ${what}`);
  };
  const forbid = (pattern: RegExp, allowedIn: RegExp, what: string) => {
    if (allowedIn.test(file)) return;
    for (const match of code.matchAll(pattern)) report(match.index, what);
  };
  forbid(/\b(cudaStream_t|CUstream|cudaStreamCreate\w*)\b/g, NAMES_BARE_STREAMS, 'names a bare stream');
  forbid(/<<<|\b(cudaLaunchKernel|cuLaunchKernel)\w*/g, LAUNCHES, 'launches a kernel by itself');
  if (/^native\/cuda\/stream\.h$/.test(file)) return violations;
  for (const match of code.matchAll(/\bForDriver\s*\(/g)) {
    const statement = statementAt(code, match.index);
    if (!DRIVER_CALLS.test(statement) && !PLAIN_LIBRARY_CALLS.test(statement))
      report(match.index, 'takes the stream without a fence for something that may not wait');
  }
  for (const match of code.matchAll(/\bForLibrary\s*\(/g)) {
    const statement = statementAt(code, match.index);
    // A handle that is kept, but for a group of NCCL's calls, is used behind kernels that came later.
    const isKept = /[^=!<>]=[^=]/.test(statement) && !NAMES_BARE_STREAMS.test(file);
    if (isKept || (!LIBRARY_CALLS.test(statement) && !NAMES_BARE_STREAMS.test(file)))
      report(match.index, 'takes the stream for no call of a library');
  }
  return violations;
}
