// Refuses a Node that is too old, in one line. Imported first by every entry script, and written so that old versions
// can still parse it; it must import nothing.
const required = [20, 19];
const found = process.versions.node.split('.').map(Number);
if (found[0] < required[0] || (found[0] === required[0] && found[1] < required[1])) {
  process.stderr.write(
    'skein needs Node ' + required.join('.') + ' or newer; this is Node ' + process.versions.node + '.\n',
  );
  process.exit(1);
}
