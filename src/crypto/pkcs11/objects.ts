/** Keys on a token: found by what they are and what they are called, made so that they stay there, destroyed. */
import { tokenObjectsMax } from "../../limits.ts";
import { CK, resultOf, type Attribute, type Handle } from "./module.ts";
import type { Session } from "./token.ts";

/**
 * Every token object that matches. @throws the token's answer; CKR_USER_NOT_LOGGED_IN where it would hide the private
 * ones.
 */
export const findObjects = (
  { library, session }: Session,
  template: readonly Attribute[],
): readonly Handle[] => {
  if (library.C_GetSessionInfo(session).state !== CK.CKS_RW_USER_FUNCTIONS) {
    throw new Error("CKR_USER_NOT_LOGGED_IN");
  }
  library.C_FindObjectsInit(session, [{ type: CK.CKA_TOKEN, value: true }, ...template]);
  try {
    const found: Handle[] = [];
    while (found.length < tokenObjectsMax) {
      const more = library.C_FindObjects(session, 64);
      if (more.length === 0) break;
      found.push(...more);
    }
    return found;
  } finally {
    library.C_FindObjectsFinal(session);
  }
};

/** @returns the attribute's bytes; undefined when the object has none or keeps it to itself. */
export const readAttribute = (
  { library, session }: Session,
  object: Handle,
  type: number,
): Uint8Array | undefined => {
  try {
    const [attribute] = library.C_GetAttributeValue(session, object, [{ type }]);
    return attribute === undefined ? undefined : Uint8Array.from(attribute.value);
  } catch (error) {
    const absent = ["CKR_ATTRIBUTE_TYPE_INVALID", "CKR_ATTRIBUTE_SENSITIVE"];
    if (absent.includes(resultOf(error))) return undefined;
    throw error;
  }
};

/** An attribute that is a number, of 4 or 8 bytes as the library's `unsigned long` is. */
export const readNumber = (session: Session, object: Handle, type: number): number | undefined => {
  const bytes = readAttribute(session, object, type);
  // The low four bytes, little endian: every platform that Node runs such libraries on; numbers here are small.
  return bytes === undefined || bytes.length < 4 ? undefined : Buffer.from(bytes).readUInt32LE(0);
};

export const isSet = (session: Session, object: Handle, type: number): boolean =>
  readAttribute(session, object, type)?.[0] === 1;

/** Whether the token keeps the key for itself: it can neither be read nor wrapped and taken out. */
export const staysThere = (session: Session, object: Handle): boolean =>
  isSet(session, object, CK.CKA_SENSITIVE) && !isSet(session, object, CK.CKA_EXTRACTABLE);

/** Of a private or a secret key that never leaves the token, and that only who is logged in sees. */
export const kept: readonly Attribute[] = [
  { type: CK.CKA_TOKEN, value: true },
  { type: CK.CKA_PRIVATE, value: true },
  { type: CK.CKA_SENSITIVE, value: true },
  { type: CK.CKA_EXTRACTABLE, value: false },
];

/** Bytes for a call in the thread pool. The package holds no reference to them, so its caller must until it is done. */
export const outside = (bytes: Uint8Array): Buffer => {
  // One byte more than is used: a library takes the null pointer of an empty buffer for an error.
  const copy = Buffer.allocUnsafeSlow(bytes.length + 1).subarray(0, bytes.length);
  copy.set(bytes);
  return copy;
};
