// Renders docs/settings.md from the commands' flags, so that the page cannot say anything else than the programs do.

/** `commands`: of commander; the rest is what common/settings.ts exports. */
export function renderSettingsDocs(commands, { isSetting, settingName, variableName }) {
  const sections = commands.map((command) => {
    const rows = command.options.filter(isSetting).map((option) => {
      const cells = [
        `\`${settingName(option)}\``,
        `\`${variableName(option)}\``,
        typeOf(option),
        defaultOf(option),
        `${option.negate ? 'false: ' : ''}${option.description}`,
      ];
      return `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
    });
    return `## skein ${command.name()}

| setting | variable | takes | default | meaning |
|---|---|---|---|---|
${rows.join('\n')}
`;
  });
  return `# Settings

Generated from the flags of the commands by \`node scripts/generate-settings-docs.mjs\`; a test fails when they differ.

\`skein serve\` and \`skein worker\` take each setting in three places. A flag (\`--tensor-parallel-size 4\`) wins over the
environment (\`SKEIN_TENSOR_PARALLEL_SIZE=4\`), the environment over a file (\`--settings FILE\` or \`SKEIN_SETTINGS=FILE\`;
one JSON object, \`{"tensor-parallel-size": 4, "model": "/models/r1v"}\`), the file over the default. An empty variable
counts as none. Switches take true or false there. A value that is wrong is refused at the start, with the name of the
variable or of the file's entry; so is an entry of the file that names no setting. Variables that name no setting are
left alone.

Workers that \`skein serve\` starts itself get theirs from it, not from the environment. NCCL's variables
(\`NCCL_SOCKET_IFNAME\`, …) are NCCL's own, \`SKEIN_PEER_MEMORY=0\` keeps GPUs of one host to NCCL
([why](collectives.md#gpus-of-one-host)), and \`SKEIN_LOG\` sets the level of logs where \`log-level\` is absent.

${sections.join('\n')}`;
}

function typeOf(option) {
  if (!option.required && !option.optional) return 'true or false';
  if (option.argChoices !== undefined) return option.argChoices.join(', ');
  return option.parseArg?.expects ?? /<(.*)>/.exec(option.flags)?.[1] ?? 'text';
}

function defaultOf(option) {
  if (option.negate) return 'true';
  if (option.defaultValueDescription !== undefined) return option.defaultValueDescription;
  if (option.defaultValue !== undefined) return String(option.defaultValue);
  return option.mandatory ? 'required' : '';
}
