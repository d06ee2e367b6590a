/** JSON as a terminal may show it: nothing in it moves the cursor or hides words, and it still means the same. Pure. */
import { escaped } from "./shown-text.ts";

/**
 * Controls, blanks other than the space, and what a terminal shows as nothing: format characters, variation selectors,
 * fillers, the empty braille pattern, characters that nobody has assigned.
 */
const invisible =
  /(?!\n)[\p{Cc}\p{Cf}\p{Cn}\p{Co}\p{Cs}\p{Zl}\p{Zp}\p{Default_Ignorable_Code_Point}\u{2800}]|(?! )\p{Zs}/gu;

/** The same JSON with what is invisible written as escapes. Outside of strings JSON has none but line feeds. */
export const visibleJson = (json: string): string => json.replaceAll(invisible, escaped);

/** JSON text anew, over several lines. Text that is no JSON is shown as a JSON string. */
export const prettyJson = (json: string): string => {
  try {
    return visibleJson(JSON.stringify(JSON.parse(json), undefined, 2));
  } catch {
    return visibleJson(JSON.stringify(json));
  }
};
