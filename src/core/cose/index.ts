/** COSE statements and key thumbprints: what others use of them. Pure. */
export {
  type ContentType,
  type Statement,
  attestationContentType,
  coseKeyThumbprint,
  coseRules,
  encodeProtected,
  encodeStatement,
  parseStatement,
  recordContentType,
  toBeSigned,
} from "./cose.ts";
