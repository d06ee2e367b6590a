/** Padded standard base64 within the text formats. Pure. What is none is refused by the format's own rule. */
import { fromBase64, parseHash, type Hash } from "../bytes.ts";
import { Fault } from "../errors.ts";

export const parseBase64 = (text: string, refuse: () => never): Uint8Array => {
  try {
    return fromBase64(text);
  } catch (error) {
    if (!(error instanceof Fault)) throw error;
    return refuse();
  }
};

/** Of exactly 32 bytes. */
export const parseBase64Hash = (text: string, refuse: () => never): Hash => {
  const bytes = parseBase64(text, refuse);
  return bytes.length === 32 ? parseHash(bytes) : refuse();
};
