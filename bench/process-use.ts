// What a process takes of the machine, by /proc.
import { readFileSync } from 'node:fs';

export function residentMib(pid: number): number {
  const match = /^VmRSS:\s+(\d+) kB$/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'));
  return Number(match?.[1] ?? Number.NaN) / 1024;
}

const CLOCK_TICK_MS = 10;

/** Of all processes, on all processors, since the machine's start. */
export function machineProcessorMs(): number {
  const [, user, nice, system, , , irq, softIrq, steal] = readFileSync('/proc/stat', 'utf8').split(/\s+/, 9);
  const ticks = [user, nice, system, irq, softIrq, steal].reduce((sum, each) => sum + Number(each), 0);
  return ticks * CLOCK_TICK_MS;
}

/** User and system time of a process since its start. */
export function processorMs(pid: number): number {
  const stat = readFileSync(`/proc/${pid}/stat`, 'utf8');
  // pid (comm) state ...; comm may hold spaces and parentheses.
  const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ');
  return (Number(fields[11]) + Number(fields[12])) * CLOCK_TICK_MS;
}
