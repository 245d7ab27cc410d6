// Markdown as elements. Text of a model is only ever the text of an element, never HTML; TeX becomes MathML by way of
// elements, too. Blocks that have not changed are not drawn again while the rest arrives.
import { createElement, type ComponentChildren, type JSX } from 'preact';
import { useEffect, useMemo, useRef, useState } from 'preact/hooks';
import temml from 'temml';
import { parseInlines, parseMarkdown, type Block, type Inline } from '../logic/markdown.js';

const MAX_TEX_CHARS = 4000;
const COPIED_MS = 1500;

export function Markdown({ text }: { readonly text: string }): JSX.Element {
  const blocks = useMemo(() => parseMarkdown(text), [text]);
  return <Blocks blocks={blocks} />;
}

function Blocks({ blocks }: { readonly blocks: readonly Block[] }): JSX.Element {
  return (
    <>
      {blocks.map((block, index) => (
        <BlockView key={index} block={block} />
      ))}
    </>
  );
}

function BlockView({ block }: { readonly block: Block }): JSX.Element {
  switch (block.kind) {
    case 'heading':
      // Below the heading of the page itself.
      return createElement(`h${Math.min(block.level + 1, 6)}`, null, <Text source={block.source} />);
    case 'paragraph':
      return (
        <p>
          <Text source={block.source} />
        </p>
      );
    case 'code':
      return <Code language={block.language} text={block.text} />;
    case 'math':
      return <Tex tex={block.tex} isDisplay />;
    case 'quote':
      return (
        <blockquote>
          <Blocks blocks={block.blocks} />
        </blockquote>
      );
    case 'list': {
      const items = block.items.map((item, index) => (
        <li key={index}>
          <Item blocks={item} />
        </li>
      ));
      return block.start === null ? <ul>{items}</ul> : <ol start={block.start}>{items}</ol>;
    }
    case 'table':
      return <Table head={block.head} rows={block.rows} />;
    case 'rule':
      return <hr />;
  }
}

/** An item that is a single paragraph stands without one. */
function Item({ blocks }: { readonly blocks: readonly Block[] }): JSX.Element {
  const [first, ...rest] = blocks;
  if (first?.kind !== 'paragraph') return <Blocks blocks={blocks} />;
  return (
    <>
      <Text source={first.source} />
      <Blocks blocks={rest} />
    </>
  );
}

function Table({ head, rows }: Pick<Extract<Block, { kind: 'table' }>, 'head' | 'rows'>): JSX.Element {
  return (
    <div class="scroll" tabIndex={0} role="region" aria-label="Table">
      <table>
        <thead>
          <tr>
            {head.map((cell) => (
              <th scope="col">
                <Text source={cell} />
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row) => (
            <tr>
              {row.map((cell) => (
                <td>
                  <Text source={cell} />
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

function Code({ language, text }: { readonly language: string; readonly text: string }): JSX.Element {
  return (
    <figure class="code">
      <figcaption>
        <span>{language === '' ? 'text' : language}</span>
        <CopyButton text={text} label="Copy the code" />
      </figcaption>
      <pre tabIndex={0}>
        <code>{text}</code>
      </pre>
    </figure>
  );
}

export function CopyButton({ text, label }: { readonly text: string; readonly label: string }): JSX.Element {
  const [isCopied, setCopied] = useState(false);
  useEffect(() => {
    if (!isCopied) return undefined;
    const timer = setTimeout(() => setCopied(false), COPIED_MS);
    return () => clearTimeout(timer);
  }, [isCopied]);
  const copy = async (): Promise<void> => {
    await copyText(text);
    setCopied(true);
  };
  return (
    <button type="button" class="quiet" aria-label={label} onClick={() => void copy()}>
      {isCopied ? 'Copied' : 'Copy'}
    </button>
  );
}

/** Over plain HTTP to another host a browser has no clipboard for pages but the old way. */
async function copyText(text: string): Promise<void> {
  if (window.isSecureContext) return navigator.clipboard.writeText(text);
  const area = document.createElement('textarea');
  area.value = text;
  area.className = 'unseen';
  document.body.append(area);
  const focused = document.activeElement;
  area.select();
  document.execCommand('copy');
  area.remove();
  if (focused instanceof HTMLElement) focused.focus();
}

function Text({ source }: { readonly source: string }): JSX.Element {
  return useMemo(() => <>{inlinesOf(parseInlines(source))}</>, [source]);
}

function inlinesOf(inlines: readonly Inline[]): ComponentChildren {
  return inlines.map((inline, index) => <InlineView key={index} inline={inline} />);
}

function InlineView({ inline }: { readonly inline: Inline }): JSX.Element {
  switch (inline.kind) {
    case 'text':
      return <>{inline.text}</>;
    case 'code':
      return <code>{inline.text}</code>;
    case 'math':
      return <Tex tex={inline.tex} isDisplay={inline.isDisplay} />;
    case 'strong':
      return <strong>{inlinesOf(inline.inlines)}</strong>;
    case 'emphasis':
      return <em>{inlinesOf(inline.inlines)}</em>;
    case 'deleted':
      return <del>{inlinesOf(inline.inlines)}</del>;
    case 'link':
      return (
        <a href={inline.href} target="_blank" rel="noopener noreferrer nofollow">
          {inlinesOf(inline.inlines)}
        </a>
      );
    case 'break':
      return <br />;
  }
}

/** What is no TeX stands as it was written. */
function Tex({ tex, isDisplay }: { readonly tex: string; readonly isDisplay: boolean }): JSX.Element {
  const ref = useRef<HTMLSpanElement>(null);
  useEffect(() => {
    const element = ref.current!;
    try {
      if (tex.length > MAX_TEX_CHARS) throw new Error('too long');
      const options = { displayMode: isDisplay, throwOnError: true, trust: false, maxExpand: 200 };
      temml.render(tex, element, { ...options, maxSize: [20, 20] });
    } catch {
      element.textContent = tex;
    }
  }, [tex, isDisplay]);
  return <span ref={ref} class={isDisplay ? 'tex tex-display' : 'tex'} />;
}
