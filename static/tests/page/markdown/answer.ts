/** An answer with everything that models write. */
export const ANSWER = `# Sorting

Here is *one* way, with **two** steps and \`code\`; see [the docs](https://example.org/a_b?c=1).

1. Read the list:
   - from a file
   - or from \`stdin\`
2. Sort it

\`\`\`python
def sort(items):
    # **not bold**
    return sorted(items)
\`\`\`

| name | cost |
| :--- | ---: |
| quick | **n log n** |
| bubble | n² |

- [ ] open
- [x] done

> A quote
> goes on

---

Done: 2 * 3 = 6, snake_case_name, ~~no~~ yes.
`;
