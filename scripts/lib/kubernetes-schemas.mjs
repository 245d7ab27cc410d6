// JSON schemas for kubeconform, made from what Kubernetes, LeaderWorkerSet and the Prometheus Operator publish in their
// modules: strict ones, in which a field that does not exist is a mistake.
import { existsSync, mkdirSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import path from 'node:path';
import { parse } from 'yaml';
import { GO_MODULES, withGoModule } from './go-tools.mjs';

/** Kinds of Kubernetes that the chart uses, by definition, with the file names that kubeconform looks for. */
const KINDS = {
  'io.k8s.api.autoscaling.v2.HorizontalPodAutoscaler': 'horizontalpodautoscaler-autoscaling-v2',
  'io.k8s.api.core.v1.ConfigMap': 'configmap-v1',
  'io.k8s.api.core.v1.Service': 'service-v1',
  'io.k8s.api.networking.v1.NetworkPolicy': 'networkpolicy-networking-v1',
  'io.k8s.api.policy.v1.PodDisruptionBudget': 'poddisruptionbudget-policy-v1',
};

export function schemaFolder(repoRoot) {
  const versions = Object.values(GO_MODULES).map(({ version }) => version);
  return path.join(repoRoot, '.cache', 'tools', `kubernetes-schemas-${versions.join('-')}`);
}

export async function ensureSchemas({ repoRoot, reporter }) {
  const folder = schemaFolder(repoRoot);
  const stamp = path.join(folder, '.complete');
  if (existsSync(stamp)) return folder;
  rmSync(folder, { recursive: true, force: true });
  mkdirSync(folder, { recursive: true });
  const write = (name, schema) => writeFileSync(path.join(folder, `${name}.json`), JSON.stringify(schema));
  await withGoModule({ name: 'kubernetes', repoRoot, reporter }, (root) => {
    const file = path.join(root, 'api/openapi-spec/swagger.json');
    const { definitions } = JSON.parse(readFileSync(file, 'utf8'));
    for (const [definition, name] of Object.entries(KINDS))
      write(name, strictDefinition(definition, definitions));
  });
  await withGoModule({ name: 'leaderworkerset', repoRoot, reporter }, (root) => {
    const file = path.join(root, 'config/crd/bases/leaderworkerset.x-k8s.io_leaderworkersets.yaml');
    const { spec } = parse(readFileSync(file, 'utf8'));
    for (const { name, schema } of spec.versions)
      write(`leaderworkerset-leaderworkerset-${name}`, strict(schema.openAPIV3Schema));
  });
  await withGoModule({ name: 'prometheus-operator', repoRoot, reporter }, (root) => {
    for (const plural of ['servicemonitors', 'prometheusrules']) {
      const file = path.join(root, `example/prometheus-operator-crd/monitoring.coreos.com_${plural}.yaml`);
      const { spec } = parse(readFileSync(file, 'utf8'));
      const kind = spec.names.kind.toLowerCase();
      for (const { name, schema } of spec.versions)
        write(`${kind}-monitoring-${name}`, strict(schema.openAPIV3Schema));
    }
  });
  writeFileSync(stamp, '');
  return folder;
}

/** A definition with all that it refers to. */
function strictDefinition(name, definitions) {
  const used = {};
  const visit = (each) => {
    if (used[each] !== undefined) return;
    used[each] = strict(definitions[each]);
    for (const match of JSON.stringify(definitions[each]).matchAll(/"#\/definitions\/([^"]+)"/g))
      visit(match[1]);
  };
  visit(name);
  return { $ref: `#/definitions/${name}`, definitions: used };
}

/** The schema with no other properties than those it names, and numbers where Kubernetes takes them beside strings. */
export function strict(schema) {
  if (Array.isArray(schema)) return schema.map(strict);
  if (typeof schema !== 'object' || schema === null) return schema;
  if (
    schema.type === 'string' &&
    (schema.format === 'int-or-string' || /fixed-point/.test(schema.description ?? ''))
  )
    return { type: ['string', 'number'] };
  const result = Object.fromEntries(
    Object.entries(schema).map(([key, value]) => {
      // Names of properties are not keywords.
      if (key === 'properties')
        return [key, Object.fromEntries(Object.entries(value).map(([name, each]) => [name, strict(each)]))];
      return [key, strict(value)];
    }),
  );
  const isOpen =
    schema.additionalProperties !== undefined || schema['x-kubernetes-preserve-unknown-fields'] === true;
  if (schema.properties !== undefined && !isOpen) result.additionalProperties = false;
  return result;
}
