/**
 * Names that a person takes for one another: by the confusable characters of UTS #39, without regard to case, blanks
 * and what is not drawn at all. Two spellings are compared, since a capital I looks like an l and a small i does not.
 */
import unhomoglyph from "unhomoglyph";

const undrawn = /[\p{Default_Ignorable_Code_Point}\p{Cc}\p{Zs}\u{2800}]/gu;

const skeleton = (text: string): string =>
  unhomoglyph(text.normalize("NFKD").replaceAll(undrawn, "")).normalize("NFKD");

/** What a name is drawn like, as it stands and in small letters. Names that share one of these look alike. */
const drawings = (text: string): readonly string[] => [
  `as written: ${skeleton(text)}`,
  `in small letters: ${skeleton(text.toLowerCase())}`,
];

/** True for different texts that a person may take for one another. */
export const looksLike = (one: string, other: string): boolean => {
  if (one === other) return false;
  const drawn = drawings(one);
  return drawings(other).some((form) => drawn.includes(form));
};

/** Finds, among known names, those that a text is no more than drawn like. */
export const lookAlikesAmong = (known: Iterable<string>): ((text: string) => readonly string[]) => {
  const byDrawing = new Map<string, Set<string>>();
  for (const name of known) {
    for (const form of drawings(name)) {
      const names = byDrawing.get(form);
      if (names === undefined) byDrawing.set(form, new Set([name]));
      else names.add(name);
    }
  }
  return (text) => {
    const found = drawings(text).flatMap((form) => [...(byDrawing.get(form) ?? [])]);
    return [...new Set(found)].filter((name) => name !== text).sort();
  };
};
