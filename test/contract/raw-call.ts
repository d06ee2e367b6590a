/**
 * One gRPC call whose headers no library would send: the HEADERS frame is written by hand, the answer is read by
 * node:http2.
 */
import { connect as connectHttp2, type IncomingHttpHeaders } from "node:http2";
import { connect as connectTcp } from "node:net";
import { Duplex } from "node:stream";
import { connect as connectTls, type ConnectionOptions } from "node:tls";

/** Names and values; a value as bytes, or as text in Latin-1. */
export type RawHeaders = readonly (readonly [name: string, value: string | Uint8Array])[];

const frameHead = 9;
const headersFrame = 1;
const endHeaders = 4;
const prefaceBytes = 24;

const text = (value: string | Uint8Array): Buffer => {
  const bytes = typeof value === "string" ? Buffer.from(value, "latin1") : Buffer.from(value);
  // HPACK §5.1: an integer in a prefix of seven bits; no Huffman code.
  const length =
    bytes.length < 127
      ? [bytes.length]
      : [127, ((bytes.length - 127) & 127) | 128, (bytes.length - 127) >> 7];
  return Buffer.concat([Uint8Array.from(length), bytes]);
};

/** HPACK §6.2.2: literals without indexing, so that nobody's table changes. */
const encode = (headers: RawHeaders): Buffer =>
  Buffer.concat(headers.flatMap(([name, value]) => [Uint8Array.of(0), text(name), text(value)]));

/** What the client writes, its HEADERS frame with other headers. */
const withHeaders = (written: Buffer, headers: RawHeaders): Buffer => {
  const parts: Buffer[] = [];
  let rest = written;
  if (rest.subarray(0, 3).toString() === "PRI") {
    parts.push(rest.subarray(0, prefaceBytes));
    rest = rest.subarray(prefaceBytes);
  }
  while (rest.length >= frameHead) {
    const end = frameHead + rest.readUIntBE(0, 3);
    const frame = rest.subarray(0, end);
    rest = rest.subarray(end);
    if (frame[3] !== headersFrame) {
      parts.push(frame);
      continue;
    }
    const body = encode(headers);
    const head = Buffer.from(frame.subarray(0, frameHead));
    head.writeUIntBE(body.length, 0, 3);
    head[4] = endHeaders;
    parts.push(head, body);
  }
  return Buffer.concat(parts);
};

/** @returns the trailers. @param message the encoded request. */
export const rawCall = async (
  { port, tls }: { readonly port: number; readonly tls?: ConnectionOptions },
  path: string,
  headers: RawHeaders,
  message: Uint8Array,
): Promise<IncomingHttpHeaders> => {
  const at = { host: "127.0.0.1", port };
  const socket = tls === undefined ? connectTcp(at) : connectTls({ ...at, ...tls, ALPNProtocols: ["h2"] });
  const all: RawHeaders = [
    [":method", "POST"],
    [":scheme", "http"],
    [":path", path],
    [":authority", "sigil"],
    ["content-type", "application/grpc"],
    ["te", "trailers"],
    ...headers,
  ];
  const between = new Duplex({
    read: () => {},
    write: (chunk: Buffer, _encoding, done) => void socket.write(withHeaders(chunk, all), () => done()),
    final: (done) => void socket.end(done),
  });
  socket.on("data", (bytes) => between.push(bytes));
  socket.on("end", () => between.push(null));
  socket.on("error", () => between.destroy());
  const session = connectHttp2("http://sigil", { createConnection: () => between });
  session.on("error", () => {});
  const call = session.request({ ":method": "POST", ":path": path });
  call.on("error", () => {});
  const frame = Buffer.alloc(5);
  frame.writeUInt32BE(message.length, 1);
  call.end(Buffer.concat([frame, message]));
  call.resume();
  try {
    return await new Promise<IncomingHttpHeaders>((resolve, reject) => {
      // A refusal without an answer has its status in its only headers.
      call.on("response", (given) => "grpc-status" in given && resolve(given));
      call.on("trailers", resolve);
      call.on("close", () => reject(new Error(`the call ended without a status (${call.rstCode})`)));
    });
  } finally {
    session.destroy();
    socket.destroy();
  }
};
