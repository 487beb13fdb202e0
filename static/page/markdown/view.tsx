/** Markdown as elements. What is not in the switches below cannot come out. */
import type { Token, Tokens } from 'marked';
import type { ComponentChildren } from 'preact';
import { useMemo, useRef } from 'preact/hooks';

import { strings } from '../strings';
import { Citations } from '../tools/citations';
import { CitationMark } from '../tools/sources';
import { CodeBlock } from './code-block';
import { decodeEntities } from './entities';
import { Formula } from './formula';
import { safeAddress } from './link';
import { MarkdownParser } from './parser';
import type { Block } from './parser';

/** Deeper nesting is shown as it is written: nobody means it, and it would exhaust the stack. */
const MAX_DEPTH = 20;

interface Props {
  readonly text: string;
  /** Whether more text will come. */
  readonly growing: boolean;
}

export function Markdown({ text, growing }: Props) {
  const parser = useRef<MarkdownParser>(null);
  parser.current ??= new MarkdownParser();
  const blocks = parser.current.parse(text, growing);
  return blocks.map((block, i) => (
    <TopBlock key={i} block={block} growing={growing && i === blocks.length - 1} />
  ));
}

interface BlockProps {
  readonly block: Block;
  readonly growing: boolean;
}

/** Drawn anew only when its block is another one. */
function TopBlock({ block, growing }: BlockProps) {
  return useMemo(() => drawBlock(block, growing, 0), [block, growing]);
}

function drawBlocks(tokens: readonly Token[], growing: boolean, depth: number) {
  return tokens.map((token, i) => drawBlock(token, growing && i === tokens.length - 1, depth));
}

function drawBlock(token: Token, growing: boolean, depth: number): ComponentChildren {
  const block = token as Block;
  if (depth > MAX_DEPTH) return <p>{block.raw}</p>;
  switch (block.type) {
    case 'paragraph':
      return <p>{drawInlines(block.tokens, depth)}</p>;
    case 'heading':
      return <Heading level={block.depth}>{drawInlines(block.tokens, depth)}</Heading>;
    case 'code':
      return (
        <CodeBlock
          code={block.text}
          language={(block.lang ?? '').split(/\s/)[0]!}
          growing={growing && !CLOSED_FENCE.test(block.raw)}
        />
      );
    case 'blockquote':
      return <blockquote>{drawBlocks(block.tokens, growing, depth + 1)}</blockquote>;
    case 'list':
      return drawList(block, growing, depth);
    case 'table':
      return drawTable(block, depth);
    case 'hr':
      return <hr />;
    case 'math':
      return <Formula key={block.text} tex={block.text} display={block.display} />;
    case 'text':
      return block.tokens ? drawInlines(block.tokens, depth) : decodeEntities(block.text);
    case 'space':
    case 'def':
      return null;
    // The rest stands in lines; in the place of a block it comes from a list item.
    case 'br':
    case 'checkbox':
    case 'codespan':
    case 'del':
    case 'em':
    case 'escape':
    case 'html':
    case 'image':
    case 'link':
    case 'list_item':
    case 'strong':
      return drawInline(block, depth);
    default:
      return block satisfies never;
  }
}

const CLOSED_FENCE = /\n[\s>]*(?:`{3,}|~{3,})\s*$/;

/** The page's own heading is the first level, so an answer's begin with the second. */
function Heading({ level, children }: { level: number; children: ComponentChildren }) {
  const Tag = (['h2', 'h3', 'h4', 'h5', 'h6'] as const)[level - 1] ?? 'h6';
  return <Tag>{children}</Tag>;
}

function drawList(list: Tokens.List, growing: boolean, depth: number) {
  const items = list.items.map((item, i) => (
    <li key={i} class={item.task ? 'task' : undefined}>
      {drawBlocks(item.tokens, growing && i === list.items.length - 1, depth + 1)}
    </li>
  ));
  if (!list.ordered) return <ul>{items}</ul>;
  return <ol start={list.start === '' ? 1 : list.start}>{items}</ol>;
}

function drawTable({ header, rows }: Tokens.Table, depth: number) {
  return (
    <div class="table" tabIndex={0}>
      <table>
        <thead>
          <tr>
            {header.map((cell, i) => (
              <th key={i} scope="col" class={alignment(cell)}>
                {drawInlines(cell.tokens, depth)}
              </th>
            ))}
          </tr>
        </thead>
        <tbody>
          {rows.map((row, i) => (
            <tr key={i}>
              {row.map((cell, j) => (
                <td key={j} class={alignment(cell)}>
                  {drawInlines(cell.tokens, depth)}
                </td>
              ))}
            </tr>
          ))}
        </tbody>
      </table>
    </div>
  );
}

/** By class, because the page's policy forbids inline styles. */
function alignment({ align }: Tokens.TableCell): string | undefined {
  return align === null ? undefined : `to-${align}`;
}

function drawInlines(tokens: readonly Token[], depth: number): ComponentChildren {
  return tokens.map((token) => drawInline(token, depth + 1));
}

function drawInline(token: Token, depth: number): ComponentChildren {
  const inline = token as Block;
  if (depth > MAX_DEPTH) return inline.raw;
  switch (inline.type) {
    case 'text':
      return inline.tokens ? drawInlines(inline.tokens, depth) : drawText(inline);
    case 'escape':
      return inline.text;
    case 'strong':
      return <strong>{drawInlines(inline.tokens, depth)}</strong>;
    case 'em':
      return <em>{drawInlines(inline.tokens, depth)}</em>;
    case 'del':
      return <del>{drawInlines(inline.tokens, depth)}</del>;
    case 'codespan':
      return <code>{inline.text}</code>;
    case 'br':
      return <br />;
    case 'math':
      return <Formula key={inline.text} tex={inline.text} display={inline.display} />;
    case 'checkbox':
      return (
        <input
          type="checkbox"
          checked={inline.checked}
          disabled
          aria-label={strings.task(inline.checked)}
        />
      );
    case 'link':
      return <SafeLink href={inline.href}>{drawInlines(inline.tokens, depth)}</SafeLink>;
    // Loading a picture would tell its host who reads; a link asks first.
    case 'image':
      return <SafeLink href={inline.href}>{decodeEntities(inline.text) || inline.href}</SafeLink>;
    // Blocks do not stand in lines, and HTML is text; should a token come all the same, it shows as written.
    case 'blockquote':
    case 'code':
    case 'def':
    case 'heading':
    case 'hr':
    case 'html':
    case 'list':
    case 'list_item':
    case 'paragraph':
    case 'space':
    case 'table':
      return inline.raw;
    default:
      return inline satisfies never;
  }
}

/** `<br>` is the one tag that models use where Markdown has no other way: in tables. */
function drawText({ text }: Tokens.Text): ComponentChildren {
  return text
    .split(/<br\s*\/?>/i)
    .flatMap((part, i) => (i === 0 ? drawCited(part) : [<br key={i} />, ...drawCited(part)]));
}

function drawCited(text: string): readonly ComponentChildren[] {
  const parts = text.split(/\[([1-9]\d{0,2})\]/); // every other one is a number
  return parts.map((part, i) =>
    i % 2 === 0 ? decodeEntities(part) : <CitationMark key={i} number={Number(part)} />,
  );
}

/** A link holds no other. */
const NONE = [] as const;

function SafeLink({ href, children }: { href: string; children: ComponentChildren }) {
  const address = safeAddress(href);
  if (address === null) return children;
  return (
    <a href={address} target="_blank" rel="noopener noreferrer">
      <Citations.Provider value={NONE}>{children}</Citations.Provider>
    </a>
  );
}
