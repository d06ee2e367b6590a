/** Makes JSON safe for a terminal: escapes control and invisible characters without changing its meaning. Pure. */
import { escaped } from "./shown-text.ts";

/**
 * Control characters, blanks other than the space, and invisible characters: format characters, variation selectors,
 * fillers, the empty braille pattern, unassigned code points.
 */
const invisible =
  /(?!\n)[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}]|(?! )\p{Zs}/gu;

/** Escapes invisible characters. Outside strings, JSON contains none but line feeds. */
export const visibleJson = (json: string): string => json.replaceAll(invisible, escaped);

/** Reformats JSON text over several lines. Invalid JSON is shown as a JSON string. */
export const prettyJson = (json: string): string => {
  try {
    return visibleJson(JSON.stringify(JSON.parse(json), undefined, 2));
  } catch {
    return visibleJson(JSON.stringify(json));
  }
};
