// The frame of the page: what is served and whether it takes requests, the two views, and light or dark.
import type { JSX } from 'preact';
import { useEffect, useState } from 'preact/hooks';
import type { ClusterReport } from '../../common/cluster-report.js';
import { Api } from '../logic/api.js';
import { ClusterView } from './cluster-view.js';
import { useCluster } from './hooks.js';
import { Mark, MoonIcon, SunIcon, SystemIcon } from './icons.js';
import { Playground } from './playground.js';
import { applyTheme, keepTheme, readTheme, type Theme } from './theme.js';

/** Beside this document, which a proxy may have put below a path. */
const api = new Api(location.pathname.replace(/\/[^/]*$/, ''));
const VIEWS = [
  { name: 'playground', label: 'Playground' },
  { name: 'cluster', label: 'Cluster' },
] as const;
type View = (typeof VIEWS)[number]['name'];
const INTERVAL_MS = 1000;

const STATE_LABELS: Readonly<Record<ClusterReport['state'], string>> = {
  forming: 'Forming',
  ready: 'Serving',
  recovering: 'Recovering',
  failed: 'Failed',
  draining: 'Shutting down',
};

export function App(): JSX.Element {
  const view = useView();
  const cluster = useCluster(api, INTERVAL_MS);
  const { report, isUnreachable } = cluster;
  const name = report?.model.name;
  useEffect(() => {
    const label = VIEWS.find((each) => each.name === view)!.label;
    document.title = `${label} · ${name === undefined ? '' : `${name} · `}Skein`;
  }, [view, name]);
  return (
    <>
      <a class="skip" href={`#${view}-main`} onClick={skip}>
        Skip to the content
      </a>
      <header class="top">
        <span class="brand">
          <Mark />
          Skein
        </span>
        <nav aria-label="Views">
          {VIEWS.map((each) => (
            <a href={`#${each.name}`} aria-current={each.name === view ? 'page' : undefined}>
              {each.label}
            </a>
          ))}
        </nav>
        <span class="served">
          {name !== undefined && <span class="served-model">{name}</span>}
          <StatePill state={report?.state ?? null} isUnreachable={isUnreachable} />
        </span>
        <ThemeToggle />
      </header>
      {/* Both stay, so that a conversation goes on while somebody looks at the cluster. */}
      <Playground api={api} report={report} isShown={view === 'playground'} />
      {view === 'cluster' && <ClusterView {...cluster} />}
    </>
  );
}

function useView(): View {
  const read = (): View => (location.hash === '#cluster' ? 'cluster' : 'playground');
  const [view, setView] = useState(read);
  useEffect(() => {
    const onChange = (): void => setView(read());
    addEventListener('hashchange', onChange);
    return () => removeEventListener('hashchange', onChange);
  }, []);
  return view;
}

/** The address says which view is shown, so a link within the view moves the focus by itself. */
function skip(event: MouseEvent): void {
  event.preventDefault();
  document.querySelector<HTMLElement>('main')?.focus();
}

interface StatePillProps {
  readonly state: ClusterReport['state'] | null;
  readonly isUnreachable: boolean;
}

function StatePill({ state, isUnreachable }: StatePillProps): JSX.Element {
  const label = isUnreachable ? 'Unreachable' : state === null ? 'Connecting' : STATE_LABELS[state];
  const kind = isUnreachable ? 'failed' : (state ?? 'forming');
  return (
    <span class={`pill pill-${kind}`} role="status">
      {label}
    </span>
  );
}

const THEMES = [
  { theme: 'light', label: 'Light', Icon: SunIcon },
  { theme: 'system', label: 'As the system', Icon: SystemIcon },
  { theme: 'dark', label: 'Dark', Icon: MoonIcon },
] as const;

function ThemeToggle(): JSX.Element {
  const [theme, setTheme] = useState<Theme>(readTheme);
  const choose = (chosen: Theme): void => {
    applyTheme(chosen);
    keepTheme(chosen);
    setTheme(chosen);
  };
  return (
    <fieldset class="themes">
      <legend class="unseen">Colours</legend>
      {THEMES.map(({ theme: each, label, Icon }) => (
        <label title={label}>
          <input type="radio" name="theme" checked={each === theme} onChange={() => choose(each)} />
          <Icon />
          <span class="unseen">{label}</span>
        </label>
      ))}
    </fieldset>
  );
}
