// Loaded by mocha before any test file (.mocharc.json): marks the process and its children as tests, so that logs are
// silent unless SKEIN_LOG asks for them.
process.env['NODE_ENV'] ??= 'test';
