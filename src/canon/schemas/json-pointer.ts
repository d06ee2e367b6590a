/** JSON pointers (RFC 6901) for error messages. They name keys, so their length is bounded. */
import { pointerCharactersMax } from "../../limits.ts";

export const formatPointer = (path: readonly (string | number)[]): string =>
  path.map((step) => `/${String(step).replaceAll("~", "~0").replaceAll("/", "~1")}`).join("");

/** At most `charactersMax` of the text, the cut marked. */
export const abbreviate = (text: string, charactersMax: number): string =>
  text.length <= charactersMax ? text : `${text.slice(0, charactersMax)}…`;

/** The text between quotes, bounded, as JSON, so that control characters in a key stay on their line. */
export const quoted = (text: string): string => JSON.stringify(abbreviate(text, pointerCharactersMax));

/** `at "/a/0"`. */
export const atPointer = (pointer: string): string => `at ${quoted(pointer)}`;
