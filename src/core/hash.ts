/**
 * SHA-256 as a value that can be passed. Pure. Functions that hash take a `Sha256` last and fall back to this
 * portable one; the server passes OpenSSL's, which is faster and gives the same bytes.
 */
import { sha256 as nobleSha256 } from "@noble/hashes/sha2.js";
import type { Hash } from "./bytes.ts";

export type Sha256 = (data: Uint8Array) => Hash;

export const portableSha256: Sha256 = (data) => nobleSha256(data) as Hash;
