// Writes deploy/grafana/skein.json.
import './lib/require-node.mjs';
import { mkdirSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderDashboard } from './lib/dashboard.mjs';

const folder = fileURLToPath(new URL('../deploy/grafana/', import.meta.url));
mkdirSync(folder, { recursive: true });
writeFileSync(path.join(folder, 'skein.json'), renderDashboard());
