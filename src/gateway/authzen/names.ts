/**
 * Sigil's names of AuthZEN's subjects, actions and resources: two that differ never have one name, because every name
 * that is given leads back to what it was made of. What has no such name is refused. Pure. Source:
 * docs/operating/authzen.md, "Names".
 */
import { targetBytesMax } from "@sigil/core/limits";
import { canonicalAction, canonicalTarget, requireSpelling } from "@sigil/core/record";
import { invalidField } from "../../errors.ts";

export type NameRules = {
  /** The type of subjects whose ids are principals' ids as they are; "" for none. */
  readonly subjectType: string;
  /** The type of resources whose ids are targets as they are; "" for none. */
  readonly resourceType: string;
  /** Stands before the name of every action. */
  readonly actionPrefix: string;
};

/** What AuthZEN calls a subject or a resource. */
export type Entity = { readonly type: string; readonly id: string };

const requireText = (text: string, field: string): void => {
  if (text === "") invalidField(field, "must not be empty");
  if (text.length > targetBytesMax) invalidField(field, `must be at most ${targetBytesMax} bytes`);
  if (!text.isWellFormed()) invalidField(field, "must be valid Unicode");
};

/**
 * `type:id`; of the plain type the id. A type without a colon ends at the first one, and a plain id has none.
 * @param field of the entity. @throws invalidField.
 */
export const entityName = ({ type, id }: Entity, plainType: string, field: string): string => {
  requireText(type, `${field}.type`);
  requireText(id, `${field}.id`);
  if (type.includes(":")) invalidField(`${field}.type`, "must hold no colon");
  const idField = `${field}.id`;
  if (type === plainType) {
    if (id.includes(":")) invalidField(idField, "must hold no colon: an id of this type is a name by itself");
    const name = requireSpelling(canonicalTarget(id), idField);
    return name === id ? name : invalidField(idField, "must be in the one spelling of a name");
  }
  // Check the id alone too: after the prefix "type:" a dot segment would not be recognized as one.
  requireSpelling(canonicalTarget(encodeURIComponent(id)), idField);
  const escaped = `${encodeURIComponent(type)}:${encodeURIComponent(id)}`;
  const name = requireSpelling(canonicalTarget(escaped), idField);
  // Another text has this name too: it was not in NFC, say.
  if (decodeURIComponent(name) !== `${type}:${id}`) invalidField(idField, "must be in Unicode NFC");
  return name;
};

/** @throws invalidField. */
export const actionName = (name: string, prefix: string, field: string): string => {
  if (name === "") invalidField(field, "must not be empty");
  const whole = prefix + name;
  const spelled = requireSpelling(canonicalAction(whole), field);
  return spelled === whole ? spelled : invalidField(field, "must be in the one spelling of an action");
};
