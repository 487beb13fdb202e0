import { parseText } from './text';

/** Text with paragraphs and code; everything in it is text, never markup. */
export function Text({ text }: { readonly text: string }) {
  return parseText(text).map((block, i) =>
    block.type === 'code' ? (
      <pre key={i}>
        <code>{block.text}</code>
      </pre>
    ) : (
      <p key={i}>
        {block.spans.map((span, j) => (span.code ? <code key={j}>{span.text}</code> : span.text))}
      </p>
    ),
  );
}
