/** Keys on a token: finding them by class and label, attributes for keys that cannot leave it, reading attributes. */
import { tokenObjectsMax } from "../../limits.ts";
import { CK, resultOf, type Attribute, type Handle } from "./module.ts";
import type { Session } from "./token.ts";

/**
 * Every matching token object. @throws the token's error; CKR_USER_NOT_LOGGED_IN if private objects would be hidden.
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

/** @returns the attribute's bytes; undefined if the object lacks it or it is sensitive. */
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

/** A numeric attribute, of 4 or 8 bytes like the library's `unsigned long`. */
export const readNumber = (session: Session, object: Handle, type: number): number | undefined => {
  const bytes = readAttribute(session, object, type);
  // The low four bytes suffice: values are small, and all supported platforms are little endian.
  return bytes === undefined || bytes.length < 4 ? undefined : Buffer.from(bytes).readUInt32LE(0);
};

export const isSet = (session: Session, object: Handle, type: number): boolean =>
  readAttribute(session, object, type)?.[0] === 1;

/** Whether the key cannot leave the token: it is sensitive and not extractable. */
export const staysThere = (session: Session, object: Handle): boolean =>
  isSet(session, object, CK.CKA_SENSITIVE) && !isSet(session, object, CK.CKA_EXTRACTABLE);

/** Attributes of a private or secret key that never leaves the token and is visible only after login. */
export const kept: readonly Attribute[] = [
  { type: CK.CKA_TOKEN, value: true },
  { type: CK.CKA_PRIVATE, value: true },
  { type: CK.CKA_SENSITIVE, value: true },
  { type: CK.CKA_EXTRACTABLE, value: false },
];

/**
 * A copy for a call in the thread pool. The package holds no reference to it, so the caller must until the call ends.
 */
export const outside = (bytes: Uint8Array): Buffer => {
  // One spare byte: an empty buffer has a null pointer, which libraries reject.
  const copy = Buffer.allocUnsafeSlow(bytes.length + 1).subarray(0, bytes.length);
  copy.set(bytes);
  return copy;
};
