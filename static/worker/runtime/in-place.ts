/** Whether a graph can write its keys and values where it reads them. */

/** The one operator that may, in ONNX Runtime. In a graph its name is plain text. */
const OPERATOR = new TextEncoder().encode('GroupQueryAttention');

/** graph: an ONNX file. Exports without the operator join the past and the new into another tensor. */
export function writesInPlace(graph: Uint8Array): boolean {
  const [first = 0, ...others] = OPERATOR;
  for (let at = graph.indexOf(first); at >= 0; at = graph.indexOf(first, at + 1)) {
    if (others.every((byte, i) => graph[at + 1 + i] === byte)) return true;
  }
  return false;
}
