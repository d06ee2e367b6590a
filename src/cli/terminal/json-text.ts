/** Makes JSON safe for a terminal: escapes control and invisible characters without changing its meaning. Pure. */
import { escaped, unseenCharacters } from "@sigil/core/record";

/** Escapes invisible characters. Outside strings, JSON contains none but line feeds. */
export const visibleJson = (json: string): string =>
  json.replaceAll(unseenCharacters, (unseen) => (unseen === "\n" ? unseen : escaped(unseen)));

/** Reformats JSON text over several lines. Invalid JSON is shown as a JSON string. */
export const prettyJson = (json: string): string => {
  try {
    return visibleJson(JSON.stringify(JSON.parse(json), undefined, 2));
  } catch {
    return visibleJson(JSON.stringify(json));
  }
};
