/**
 * A request that a proxy holds, as an action and a target: one rule, whatever the proxy and however it asks. What a
 * server behind it could read in two ways is refused, never repaired. Source: docs/operating/envoy.md,
 * docs/operating/http.md.
 */
import { canonicalTarget, type Spelling } from "@sigil/core/record";

/**
 * Methods have letter case (RFC 9110 §9.1), actions of this kind have none: one in lower case would be another one's
 * twin.
 */
const methodShape = /^[A-Z]+(?:-[A-Z]+)*$/;
const methodCharactersMax = 32;

/** What servers disagree about: some decode it first, some cut there, some drop it. */
const ambiguous: readonly (readonly [RegExp, string])[] = [
  [/^(?!\/)/, 'must begin with "/"'],
  [/\/\//, 'must have no "//"'],
  [/\\|%(?:25)*(?:2f|5c)/i, "must have no backslash, and no slash that is escaped"],
  [/;|%(?:25)*3b/i, 'must have no ";", escaped or not'],
];

/** `http.get` of `GET`. */
export const actionOfMethod = (method: string): Spelling =>
  method.length > methodCharactersMax || !methodShape.test(method)
    ? { kind: "refused", rule: `must be at most ${methodCharactersMax} capital letters` }
    : { kind: "canonical", text: `http.${method.toLowerCase()}` };

/** @param path as it came; its query is cut off. @param prefix what the target begins with. */
export const targetOfPath = (path: string, prefix: string): Spelling => {
  const [bare = ""] = path.split("?", 1);
  const [, rule] = ambiguous.find(([shape]) => shape.test(bare)) ?? [];
  return rule === undefined ? canonicalTarget(`${prefix}${bare}`) : { kind: "refused", rule };
};
