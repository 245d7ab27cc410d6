// `skein` as it is, but its workers have the fake engine.
import { main } from '../../coordinator/main.js';
import { FAKE_WORKER_ENTRY } from './fake-cluster.js';

await main(process.argv.slice(2), FAKE_WORKER_ENTRY);
