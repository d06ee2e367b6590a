/** SHA-256: by OpenSSL under Node, in JavaScript elsewhere; the same bytes. Pure. */
export { sha256 } from "#crypto";
