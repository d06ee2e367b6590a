/**
 * Hand-written gRPC over HTTP/2, for misbehaving callers: that do not read, send partial messages, or send compression
 * bombs.
 */
import { connect as connectHttp2, type ClientHttp2Session, type ClientHttp2Stream } from "node:http2";
import type { Socket } from "node:net";
import { gzipSync } from "node:zlib";

export type Session = ClientHttp2Session;

/** Ignores errors of the attacker's connections. */
const quietly = (): void => {};

/** @param socket to use for the session, for callers that want to cut it. */
export const open = async (target: string, socket?: Socket): Promise<Session> => {
  const session = connectHttp2(
    `http://${target}`,
    socket === undefined ? {} : { createConnection: () => socket },
  );
  session.on("error", quietly);
  session.on("goaway", quietly);
  await new Promise<void>((resolve) => {
    session.once("remoteSettings", () => resolve());
    session.once("close", () => resolve());
  });
  return session;
};

const prefixBytes = 5;

export const frame = (message: Uint8Array, compressed: "gzip" | "plain" = "plain"): Buffer => {
  const framed = Buffer.alloc(prefixBytes + message.length);
  framed.writeUInt8(compressed === "gzip" ? 1 : 0, 0);
  framed.writeUInt32BE(message.length, 1);
  framed.set(message, prefixBytes);
  return framed;
};

/** A message that expands a thousandfold when decompressed. */
export const bomb = (message: Uint8Array): Buffer => frame(gzipSync(message, { level: 9 }), "gzip");

export type Headers = { readonly token?: string | undefined; readonly encoding?: "gzip" };

/** A call whose answer is not read yet. */
export const call = (
  session: Session,
  path: string,
  { token, encoding }: Headers = {},
): ClientHttp2Stream => {
  const stream = session.request({
    ":method": "POST",
    ":path": path,
    "content-type": "application/grpc",
    te: "trailers",
    ...(encoding === undefined ? {} : { "grpc-encoding": encoding }),
    ...(token === undefined ? {} : { authorization: `Bearer ${token}` }),
  });
  stream.on("error", quietly);
  return stream;
};

/** Reads and discards the answer. @returns the gRPC status, or "broken". */
export const finish = (stream: ClientHttp2Stream): Promise<string> =>
  new Promise((resolve) => {
    let status = "broken";
    const read = (headers: Readonly<Record<string, unknown>>): void => {
      const given = headers["grpc-status"];
      if (typeof given === "string") status = given;
    };
    stream.on("response", read);
    stream.on("trailers", read);
    stream.on("close", () => resolve(status));
    stream.resume();
  });

/** Resolves with the answer, or after the timeout. */
export const within = <Value>(delayMs: number, promise: Promise<Value>): Promise<Value | "late"> => {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<"late">((resolve) => (timer = setTimeout(() => resolve("late"), delayMs)));
  return Promise.race([promise, late]).finally(() => clearTimeout(timer));
};

export const pause = (delayMs: number): Promise<void> =>
  new Promise((resolve) => setTimeout(resolve, delayMs));
