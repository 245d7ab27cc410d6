// npm run test:deploy: brings Prometheus, helm, kubeconform and their schemas, builds the CPU image without a daemon,
// then runs the tests of deploy/, the image's among them; none may be skipped. --cuda builds the CUDA image too (an
// hour on two cores) and prints its size.
import './lib/require-node.mjs';
import path from 'node:path';

// No top-level await: an old Node must get as far as the check of its version.
import('./lib/setup.mjs').then(({ repoRoot, runScript, setup }) =>
  runScript(async (reporter) => {
    await setup({ tests: true, reporter });
    const { ensureGoTool } = await import('./lib/go-tools.mjs');
    const { ensureSchemas } = await import('./lib/kubernetes-schemas.mjs');
    const { ImageBuilder, whyNoImages } = await import('./lib/deploy-image.mjs');
    const { SetupError } = await import('./lib/console.mjs');
    const { DEPLOY_REQUIREMENTS, ensureRequirements } = await import('./lib/system-packages.mjs');
    const logFile = path.join(repoRoot, 'build', 'logs', 'system-packages.log');
    await ensureRequirements({ requirements: DEPLOY_REQUIREMENTS, repoRoot, logFile, reporter });
    for (const name of ['helm', 'kubeconform']) await ensureGoTool({ name, repoRoot, reporter });
    await ensureSchemas({ repoRoot, reporter });
    const reason = whyNoImages();
    if (reason !== null) throw new SetupError(`no image can be built here: ${reason}`);
    const builder = new ImageBuilder({ repoRoot, reporter });
    await builder.prepare();
    for (const kind of process.argv.includes('--cuda') ? ['cpu', 'cuda'] : ['cpu']) {
      const tag = await builder.build(kind);
      reporter.line(`skein: ${tag} is built, ${builder.inspect(tag).size}`);
    }
    const { runTests } = await import('./lib/run-tests.mjs');
    return runTests({ args: ['test/deploy/'], failOnSkip: true });
  }),
);
