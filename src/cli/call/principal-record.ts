/**
 * `principal/<id>` as people write it. A record's id cannot hold every principal's: then the record stands under the
 * digest of the id, and its payload says the id. Source: docs/spec/record.md §6.
 */
import { parseTree } from "jsonc-parser";
import { principalPrefix, principalRecordId, recordIdFault, canonicalSubject } from "@sigil/core/record";
import { principalIdBytesMax } from "@sigil/core/limits";
import { usage } from "../terminal/command.ts";

/** The id of the record that is meant, and the principal's own where the record's does not hold it. */
export type Meant = { readonly id: string; readonly principal: string | undefined };

/** Ids of records that no record could have are principals' alone; the server judges all others. @throws usage. */
export const recordMeant = (text: string): Meant => {
  if (!text.startsWith(principalPrefix)) return { id: text, principal: undefined };
  const name = text.slice(principalPrefix.length);
  if (recordIdFault(text) === null && name.length <= principalIdBytesMax) {
    return { id: text, principal: undefined };
  }
  const spelling = canonicalSubject(name, "");
  if (spelling.kind === "refused") return usage(`${text}: the principal's id ${spelling.rule}`);
  const id = principalRecordId(spelling.text);
  return { id, principal: id === principalPrefix + spelling.text ? undefined : spelling.text };
};

/** The payload as it is written, with the principal's id put in where it has to say it and does not. */
export const withPrincipal = (json: string, { principal }: Meant): string => {
  if (principal === undefined) return json;
  const root = parseTree(json);
  if (root?.type !== "object") return json;
  const members = root.children ?? [];
  if (members.some(({ children: [name] = [] }) => name?.value === "id")) return json;
  const at = root.offset + 1;
  const comma = members.length === 0 ? "" : ", ";
  return `${json.slice(0, at)}"id": ${JSON.stringify(principal)}${comma}${json.slice(at)}`;
};
