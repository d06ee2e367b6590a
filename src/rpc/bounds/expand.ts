/**
 * Decompression of one message as a single job of the thread pool into a single buffer. grpc-js streams it in pieces of
 * 16 KB: 250 events and buffers for each 4 MB. Source: gRPC over HTTP/2, "Message-Encoding"; RFC 1952 §2.3.1 (ISIZE).
 */
import zlib from "node:zlib";
import { status as Code } from "@grpc/grpc-js";
import type { CallStatus } from "./insides.ts";

export type Compression = "gzip" | "deflate";

export const isCompression = (encoding: string): encoding is Compression =>
  encoding === "gzip" || encoding === "deflate";

const chunkBytesMin = 64 << 10;

/** Gzip's trailer ends with the size of the data, modulo 2^32. Only a hint: the sender may lie. */
const sizeHintOf = (message: Buffer): number =>
  message.length < 4 ? 0 : message.readUInt32LE(message.length - 4);

/** The status that grpc-js gives. */
export class ExpansionError extends Error implements CallStatus {
  readonly code: number;
  readonly details: string;

  constructor(cause: NodeJS.ErrnoException, bytesMax: number) {
    const isLong = cause.code === "ERR_BUFFER_TOO_LARGE";
    const details = isLong
      ? `Received message that decompresses to a size larger than ${bytesMax}`
      : "Failed to decompress message";
    super(details, { cause });
    this.code = isLong ? Code.RESOURCE_EXHAUSTED : Code.INTERNAL;
    this.details = details;
  }
}

/** A small result must not keep a large buffer that its permit no longer covers. */
const compact = (bytes: Buffer): Buffer =>
  bytes.length < bytes.buffer.byteLength / 2 ? Buffer.from(bytes) : bytes;

/** @param message without prefix. @param bytesMax of the result. @throws ExpansionError. */
export const expand = (message: Buffer, encoding: Compression, bytesMax: number): Promise<Buffer> =>
  new Promise((resolve, reject) => {
    const hint = encoding === "gzip" ? sizeHintOf(message) : 0;
    // One byte more than the data: a full buffer would be followed by another.
    const chunkSize = Math.min(Math.max(hint, chunkBytesMin), bytesMax) + 1;
    const inflate = encoding === "gzip" ? zlib.gunzip : zlib.inflate;
    inflate(message, { chunkSize, maxOutputLength: bytesMax }, (error, bytes) => {
      if (error === null) resolve(compact(bytes));
      else reject(new ExpansionError(error, bytesMax));
    });
  });
