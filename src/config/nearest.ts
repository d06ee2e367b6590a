/** The known word with the smallest edit distance to an unknown one. */

const distance = (a: string, b: string): number => {
  let before = Array.from({ length: b.length + 1 }, (_, index) => index);
  for (let row = 1; row <= a.length; row += 1) {
    const current = [row];
    for (let column = 1; column <= b.length; column += 1) {
      const changed = (before[column - 1] ?? 0) + (a[row - 1] === b[column - 1] ? 0 : 1);
      current.push(Math.min(changed, (before[column] ?? 0) + 1, (current[column - 1] ?? 0) + 1));
    }
    before = current;
  }
  return before[b.length] ?? 0;
};

/** Longer words are not typos, and comparing them is expensive. */
const wordCharactersMax = 64;

export const nearest = (word: string, known: readonly string[]): string => {
  const typed = word.slice(0, wordCharactersMax);
  let best = known[0] ?? "";
  let bestDistance = Infinity;
  for (const candidate of known) {
    const steps = distance(typed, candidate);
    if (steps < bestDistance) [best, bestDistance] = [candidate, steps];
  }
  return best;
};
