// The frame of an HTML report: one file that asks nobody for anything, has no script, is readable in light and dark.
const STYLE = `
:root { color-scheme: light dark; --text: #1b1f24; --faint: #667; --back: #fff; --card: #f6f7f9; --line: #d9dde3;
  --call: #1f6feb; --queue: #b35900; --first: #1a7f37; --total: #6e5bd0; --refused: #cf222e; --gap: #0a7c86; }
@media (prefers-color-scheme: dark) { :root { --text: #e6e9ee; --faint: #9aa4b2; --back: #14171c; --card: #1c2128; --line: #343b45;
  --call: #6cb0ff; --queue: #f0a35e; --first: #57cf78; --total: #b0a2ff; --refused: #ff7b72; --gap: #5fd0da; } }
* { box-sizing: border-box; }
body { margin: 0 auto; max-width: 1240px; padding: 24px; font: 15px/1.5 system-ui, sans-serif; color: var(--text); background: var(--back); }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 0 0 4px; } p { margin: 4px 0 12px; max-width: 80ch; }
section { background: var(--card); border: 1px solid var(--line); border-radius: 8px; padding: 16px; margin: 16px 0; }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; font-size: 13px; }
.wide { overflow-x: auto; } td, th { padding: 4px 10px; border-bottom: 1px solid var(--line); text-align: right; white-space: nowrap; }
td:first-child, th:first-child { text-align: left; } th { color: var(--faint); font-weight: 600; }
dl { display: grid; grid-template-columns: max-content 1fr; gap: 2px 16px; margin: 0; } dt { color: var(--faint); } dd { margin: 0; overflow-wrap: anywhere; }
.plots { display: grid; grid-template-columns: repeat(auto-fit, minmax(min(440px, 100%), 1fr)); gap: 16px; margin-top: 12px; }
figure { margin: 0; } svg { width: 100%; height: auto; display: block; } svg text { font-size: 10.5px; fill: var(--faint); }
.grid { stroke: var(--line); stroke-width: 1; fill: none; } .curve { fill: none; stroke: currentColor; stroke-width: 1.8; }
.dots { fill: currentColor; fill-opacity: .55; } figcaption { font-size: 13px; } .key { margin-right: 16px; }
.key::before { content: ''; display: inline-block; width: 10px; height: 10px; border-radius: 5px; background: currentColor; margin-right: 6px; }
.call { color: var(--call); } .queue { color: var(--queue); } .first { color: var(--first); } .total { color: var(--total); }
.refused { color: var(--refused); } .gap { color: var(--gap); } .broken { color: var(--refused); font-weight: 600; }
ul { margin: 4px 0; padding-left: 20px; } code { font-size: 13px; } details { margin-top: 8px; } summary { cursor: pointer; color: var(--faint); }
`;

/** `body` is HTML already. */
export function page(title: string, body: string): string {
  return `<!doctype html>
<html lang="en"><head><meta charset="utf-8"><meta name="viewport" content="width=device-width"><title>${escape(title)}</title>
<style>${STYLE}</style></head><body>
<h1>${escape(title)}</h1>
${body}
</body></html>
`;
}

/** Names and what they are, in the order given. */
export function factList(facts: readonly (readonly [string, string])[]): string {
  return `<dl>${facts.map(([name, value]) => `<dt>${escape(name)}</dt><dd>${escape(value)}</dd>`).join('')}</dl>`;
}

export function escape(text: string): string {
  return text.replace(/[&<>"]/g, (char) => `&#${char.charCodeAt(0)};`);
}
