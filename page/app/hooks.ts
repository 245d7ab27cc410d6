// What several views of the page need of the browser: changes gathered to one a frame, the width of an element, the
// report on the cluster asked for while somebody looks.
import { useEffect, useRef, useState } from 'preact/hooks';
import type { ClusterReport } from '../../common/cluster-report.js';
import { type Api } from '../logic/api.js';
import { Timeline } from '../logic/timeline.js';

/** Draws again when what is observed has changed, at most once a frame. */
export function useObserved(observe: (listener: () => void) => () => void): void {
  const [, setCount] = useState(0);
  useEffect(() => {
    let frame = 0;
    const stop = observe(() => {
      if (frame !== 0) return;
      frame = requestAnimationFrame(() => {
        frame = 0;
        setCount((count) => count + 1);
      });
    });
    return () => {
      stop();
      cancelAnimationFrame(frame);
    };
  }, [observe]);
}

/** Of the element that the first of the two is given to; 0 until it is known. */
export function useWidth<Kind extends Element>(): [{ current: Kind | null }, number] {
  const ref = useRef<Kind | null>(null);
  const [width, setWidth] = useState(0);
  useEffect(() => {
    const observer = new ResizeObserver(([entry]) => setWidth(Math.floor(entry!.contentRect.width)));
    observer.observe(ref.current!);
    return () => observer.disconnect();
  }, []);
  return [ref, width];
}

export interface ClusterState {
  /** The last one that came; null: none yet. */
  readonly report: ClusterReport | null;
  readonly timeline: Timeline;
  /** The server did not answer the last time. */
  readonly isUnreachable: boolean;
}

/** A hidden page asks nothing. */
export function useCluster(api: Api, intervalMs: number): ClusterState {
  const [timeline] = useState(() => new Timeline());
  const [state, setState] = useState<ClusterState>({ report: null, timeline, isUnreachable: false });
  useEffect(() => {
    const controller = new AbortController();
    const { signal } = controller;
    let timer = 0;
    const ask = async (): Promise<void> => {
      try {
        if (!document.hidden) {
          const report = await api.cluster(timeline.lastS, signal);
          timeline.add(report);
          setState({ report, timeline, isUnreachable: false });
        }
      } catch {
        if (!signal.aborted) setState((before) => ({ ...before, isUnreachable: true }));
      }
      if (!signal.aborted) timer = setTimeout(() => void ask(), intervalMs);
    };
    void ask();
    return () => {
      controller.abort();
      clearTimeout(timer);
    };
  }, [api, intervalMs, timeline]);
  return state;
}
