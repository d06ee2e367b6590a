/** SHA-256: by OpenSSL under Node, in JavaScript elsewhere. Pure. */
export { sha256 } from "#crypto";
