/**
 * Resolves `principal/<id>` as typed. If a record id cannot hold the principal's id, the record's id has its digest,
 * and the payload the id. Source: docs/spec/record.md §6.
 */
import { parseTree } from "jsonc-parser";
import { principalPrefix, principalRecordId, recordIdFault, canonicalSubject } from "@sigil/core/record";
import { principalIdBytesMax } from "@sigil/core/limits";
import { usage } from "../terminal/command.ts";

/** The record's id, and the principal's id if the record's does not contain it. */
export type Meant = { readonly id: string; readonly principal: string | undefined };

/** Only ids of principals may be invalid as record ids; the server checks all others. @throws usage. */
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

/** Adds the principal's id to the payload text if it is required and missing. */
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
