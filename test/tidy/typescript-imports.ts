// Reads what a TypeScript file imports, and says which imports the layers forbid. The table is the architecture's: who
// may know whom. Tests and benchmarks may import anything; nothing imports them.
import path from 'node:path/posix';
import ts from 'typescript';

/** Modules that a file imports, type-only ones and dynamic import() included, in the order of the file. */
function importsOf(text: string): string[] {
  return ts.preProcessFile(text, true, true).importedFiles.map((imported) => imported.fileName);
}

/** A relative import as a path from the repository's root ('common/errors.ts'); null for packages. */
export function resolveImport(file: string, specifier: string): string | null {
  if (!specifier.startsWith('.')) return null;
  return path.join(path.dirname(file), specifier).replace(/\.js$/, '.ts');
}

/**
 * The longest prefix that fits a file decides; what is listed may be imported beside the file's own
 * layer. checkpoint/ holds the model spec, plain data that most layers read.
 */
const EVERYWHERE = ['common/', 'proto/ts/'];
export const LAYERS: Readonly<Record<string, readonly string[]>> = {
  'common/': ['proto/ts/'],
  'worker/': EVERYWHERE,
  // A client: it knows a server by what it answers.
  'bench-serve/': EVERYWHERE,
  // Bundled for browsers: what it takes from elsewhere is plain data.
  'page/logic/': ['common/cluster-report.ts', 'common/limits.ts'],
  'page/app/': ['common/cluster-report.ts', 'common/limits.ts', 'page/logic/'],
  'coordinator/main.ts': [...EVERYWHERE, 'coordinator/'],
  'coordinator/commands/': [...EVERYWHERE, 'coordinator/', 'bench-serve/'],
  'coordinator/serving/': [...EVERYWHERE, 'coordinator/'],
  'coordinator/cluster-options.ts': EVERYWHERE,
  'coordinator/config.ts': [...EVERYWHERE, 'coordinator/cluster-options.ts'],
  'coordinator/scheduler/': [
    'common/assert.ts',
    'common/errors.ts',
    'common/fair-bound.ts',
    'common/limits.ts',
    'common/sampling.ts',
    'common/token-list.ts',
  ],
  'coordinator/checkpoint/': EVERYWHERE,
  'coordinator/sharding/': [...EVERYWHERE, 'coordinator/checkpoint/'],
  'coordinator/tokenizer/': [...EVERYWHERE, 'coordinator/checkpoint/'],
  'coordinator/vision/': [...EVERYWHERE, 'coordinator/checkpoint/'],
  'coordinator/cluster/': EVERYWHERE,
  'coordinator/executor/': [
    ...EVERYWHERE,
    'coordinator/checkpoint/',
    'coordinator/scheduler/',
    'coordinator/cluster/',
    'coordinator/sharding/',
  ],
  'coordinator/grammar/': [
    ...EVERYWHERE,
    'coordinator/executor/',
    'coordinator/requests/',
    'coordinator/tokenizer/',
  ],
  'coordinator/requests/': [...EVERYWHERE, 'coordinator/tokenizer/', 'coordinator/executor/'],
  'coordinator/encoding/': [
    ...EVERYWHERE,
    'coordinator/checkpoint/',
    'coordinator/tokenizer/',
    'coordinator/vision/',
    'coordinator/executor/',
    'coordinator/requests/',
  ],
  'coordinator/engine/': [
    ...EVERYWHERE,
    'coordinator/tokenizer/',
    'coordinator/scheduler/',
    'coordinator/executor/',
    'coordinator/requests/',
    'coordinator/encoding/',
    'coordinator/grammar/',
  ],
  'coordinator/observability/': [
    ...EVERYWHERE,
    'coordinator/executor/',
    'coordinator/requests/',
    'coordinator/engine/',
  ],
  'coordinator/gateway/': [
    ...EVERYWHERE,
    'coordinator/executor/',
    'coordinator/requests/',
    'coordinator/grammar/',
    'coordinator/engine/',
  ],
};

/** The forbidden imports of one file, as sentences; also when no layer is declared for the file. */
export function layerViolations(file: string, text: string): string[] {
  const layer = longestPrefix(file);
  if (layer === null)
    return [`${file} belongs to no layer: declare its folder in test/tidy/typescript-imports.ts`];
  const allowed = LAYERS[layer] ?? [];
  const violations: string[] = [];
  for (const specifier of importsOf(text)) {
    const target = resolveImport(file, specifier);
    if (target === null) {
      if (layer === 'coordinator/scheduler/')
        violations.push(`${file} imports ${specifier}: the scheduler is pure`);
      continue;
    }
    const isOwn = layer.endsWith('/') && target.startsWith(layer);
    const isAllowed = allowed.some(
      (prefix) => target === prefix || (prefix.endsWith('/') && target.startsWith(prefix)),
    );
    if (!isOwn && !isAllowed) violations.push(`${file} imports ${target}: ${layer} may not`);
  }
  return violations;
}

function longestPrefix(file: string): string | null {
  const fitting = Object.keys(LAYERS).filter(
    (prefix) => file === prefix || (prefix.endsWith('/') && file.startsWith(prefix)),
  );
  return fitting.sort((a, b) => b.length - a.length)[0] ?? null;
}

const IMPURE_NAMES = new Set([
  'Date',
  'Promise',
  'performance',
  'process',
  'console',
  'setTimeout',
  'setInterval',
  'setImmediate',
  'queueMicrotask',
  'fetch',
]);

/** Uses of time, promises and I/O in a file that must be pure: `name at line`. Math.random counts, members do not. */
export function impureUses(text: string): string[] {
  const source = ts.createSourceFile('pure.ts', text, ts.ScriptTarget.ES2023, true);
  const uses: string[] = [];
  const report = (node: ts.Node, name: string): void => {
    uses.push(`${name} at line ${source.getLineAndCharacterOfPosition(node.getStart()).line + 1}`);
  };
  const visit = (node: ts.Node): void => {
    if (node.kind === ts.SyntaxKind.AwaitExpression || node.kind === ts.SyntaxKind.AsyncKeyword)
      report(node, 'async');
    if (ts.isIdentifier(node) && IMPURE_NAMES.has(node.text) && !isMemberName(node)) report(node, node.text);
    if (ts.isPropertyAccessExpression(node) && node.getText() === 'Math.random') report(node, 'Math.random');
    ts.forEachChild(node, visit);
  };
  visit(source);
  return uses;
}

function isMemberName(node: ts.Identifier): boolean {
  const parent = node.parent;
  if (ts.isPropertyAccessExpression(parent)) return parent.name === node;
  return (
    ts.isPropertyAssignment(parent) || ts.isPropertySignature(parent) || ts.isPropertyDeclaration(parent)
  );
}
