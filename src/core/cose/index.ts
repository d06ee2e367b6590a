/** Exports of COSE statements and key thumbprints. Pure. */
export {
  type ContentType,
  type Statement,
  attestationContentType,
  coseKeyThumbprint,
  mldsa44KeyThumbprint,
  coseRules,
  encodeProtected,
  encodeStatement,
  parseStatement,
  recordContentType,
  toBeSigned,
} from "./cose.ts";
export { type Receipt, encodeReceipt, encodeReceiptHeader, parseReceipt, receiptSubject } from "./receipt.ts";
