/** Faults within HTTP/2 and gRPC: statuses, lengths, compression, and ends in the middle of an allow. */
import { constants, createServer, type ServerHttp2Stream } from "node:http2";
import { gzipSync } from "node:zlib";
import { status as Code } from "@grpc/grpc-js";
import { BatchCheckResponse, CheckResponse, Verdict } from "@sigil/client";
import { honest } from "./lies.ts";
import { fault, type Row } from "./row.ts";
import type { World } from "./world.ts";

const allow = Buffer.from(CheckResponse.encode(honest).finish());
const deny = CheckResponse.encode(
  CheckResponse.fromPartial({ verdict: Verdict.VERDICT_DENY, reason: "LEVEL_TOO_LOW" }),
).finish();

/** A message of gRPC: a flag, its length, and its bytes. */
const framed = (message: Uint8Array, { compressed = 0, length = message.length } = {}): Buffer => {
  const head = Buffer.alloc(5);
  head[0] = compressed;
  head.writeUInt32BE(length, 1);
  return Buffer.concat([head, message]);
};

const grpc = { ":status": 200, "content-type": "application/grpc+proto" };

type Trailers = Readonly<Record<string, string>>;
const ok: Trailers = { "grpc-status": "0" };

/** Headers, a body and trailers; without trailers the stream ends after the body. */
const answer =
  (body: Uint8Array, trailers?: Trailers, headers: object = {}) =>
  (stream: ServerHttp2Stream): void => {
    stream.respond({ ...grpc, ...headers }, { waitForTrailers: trailers !== undefined });
    if (trailers !== undefined) stream.on("wantTrailers", () => stream.sendTrailers(trailers));
    stream.end(body);
  };

const trailersOnly =
  (trailers: Trailers) =>
  (stream: ServerHttp2Stream): void =>
    stream.respond({ ...grpc, ...trailers }, { endStream: true });

/** Headers and an allow, and then something in place of the trailers. */
const allowThen =
  (end: (stream: ServerHttp2Stream) => void) =>
  (stream: ServerHttp2Stream): void => {
    stream.respond(grpc);
    stream.write(framed(allow), () => end(stream));
  };

/** An allow that comes when nobody waits for it any more. */
const lateMs = 20_000;
const drop = 200;

const slowly = (stream: ServerHttp2Stream): void => {
  stream.respond(grpc);
  const bytes = framed(allow);
  let sent = 0;
  const timer = setInterval(() => {
    if (sent >= bytes.length || stream.destroyed) return clearInterval(timer);
    stream.write(bytes.subarray(sent, (sent += 1)));
  }, drop);
  stream.on("close", () => clearInterval(timer));
};

const late = (stream: ServerHttp2Stream): void => {
  const timer = setTimeout(() => answer(framed(allow), ok)(stream), lateMs);
  stream.on("close", () => clearTimeout(timer));
};

const page = Buffer.from("<!doctype html><h1>Welcome to the network</h1><p>allowed: true");
const large = CheckResponse.encode({ ...honest, disclosures: new Uint8Array(8 << 20) }).finish();
const bomb = gzipSync(CheckResponse.encode({ ...honest, disclosures: new Uint8Array(64 << 20) }).finish());
const otherMessage = BatchCheckResponse.encode(
  BatchCheckResponse.fromPartial({ results: [{ outcome: { $case: "decision", value: honest } }] }),
).finish();
const gzip = { "grpc-encoding": "gzip" };

type Named = readonly [
  name: string,
  what: string,
  act: (stream: ServerHttp2Stream) => void,
  expect?: "either",
];

const faults: readonly Named[] = [
  ["slow", "an allow long after the deadline", late],
  ["slow-bytes", "an allow of which a byte comes at a time", slowly],
  ["ok-without-message", "status OK and no message", answer(Buffer.alloc(0), ok)],
  ["trailers-only-ok", "trailers only, with status OK", trailersOnly(ok)],
  ["trailers-only-error", "trailers only, with status UNAVAILABLE", trailersOnly({ "grpc-status": "14" })],
  ["two-messages", "two allows to one question", answer(Buffer.concat([framed(allow), framed(allow)]), ok)],
  [
    "allow-then-error",
    "an allow, and then the status INTERNAL",
    answer(framed(allow), { "grpc-status": "13" }),
  ],
  [
    "allow-then-unauthenticated",
    "an allow, and then the status UNAUTHENTICATED",
    answer(framed(allow), { "grpc-status": "16", "grpc-message": "expired" }),
  ],
  [
    "deny-then-allow",
    "a deny and an allow to one question",
    answer(Buffer.concat([framed(deny), framed(allow)]), ok),
  ],
  [
    "status-twice",
    "an allow, status OK before it and INTERNAL after it",
    answer(framed(allow), { "grpc-status": "13" }, { "grpc-status": "0" }),
  ],
  ["no-status", "an allow without trailers", answer(framed(allow))],
  [
    "status-no-number",
    "an allow, and a status that is no number",
    answer(framed(allow), { "grpc-status": "fine" }),
  ],
  [
    "status-unknown",
    "an allow, and a status that nobody knows",
    answer(framed(allow), { "grpc-status": "99" }),
  ],
  ["status-negative", "an allow, and a status below OK", answer(framed(allow), { "grpc-status": "-1" })],
  ["empty-message", "a message of no bytes", answer(framed(new Uint8Array(0)), ok), "either"],
  [
    "truncated",
    "an allow of which the second half is missing",
    answer(framed(allow.subarray(0, allow.length >> 1), { length: allow.length }), ok),
  ],
  ["truncated-head", "three bytes of a message's head", answer(Buffer.from([0, 0, 0]), ok)],
  [
    "truncated-protobuf",
    "a message that ends within a field",
    answer(framed(allow.subarray(0, 12)), ok),
    "either",
  ],
  ["garbage-protobuf", "a message that is not protobuf", answer(framed(Buffer.alloc(64, 0xff)), ok)],
  [
    "other-message",
    "a message of another kind, with an allow in it",
    answer(framed(otherMessage), ok),
    "either",
  ],
  [
    "compressed-garbage",
    "a compressed message that is none",
    answer(framed(Buffer.alloc(64, 7), { compressed: 1 }), ok, gzip),
  ],
  [
    "compressed-unsaid",
    "a compressed message, and no word how",
    answer(framed(gzipSync(allow), { compressed: 1 }), ok),
  ],
  [
    "compressed-unknown",
    "an allow compressed in a way that nobody knows",
    answer(framed(allow, { compressed: 1 }), ok, { "grpc-encoding": "sigil-squeeze" }),
  ],
  ["compressed-bomb", "an allow of 64 MiB in 64 KiB", answer(framed(bomb, { compressed: 1 }), ok, gzip)],
  ["huge", "an allow of 8 MiB", answer(framed(large), ok)],
  ["huge-claimed", "a message that claims 4 GiB", answer(framed(allow, { length: 0xffff_ffff }), ok)],
  [
    "reset-after-allow",
    "an allow, and a reset in place of the trailers",
    allowThen((stream) => stream.close(constants.NGHTTP2_INTERNAL_ERROR)),
  ],
  [
    "reset-before",
    "a reset in place of an answer",
    (stream) => stream.close(constants.NGHTTP2_REFUSED_STREAM),
  ],
  [
    "goaway-after-allow",
    "an allow, and a GOAWAY in place of the trailers",
    allowThen(({ session }) => {
      session?.goaway(constants.NGHTTP2_NO_ERROR, 0);
      session?.destroy();
    }),
  ],
  [
    "goaway-before",
    "a GOAWAY in place of an answer",
    ({ session }) => {
      session?.goaway(constants.NGHTTP2_ENHANCE_YOUR_CALM, 0);
      session?.destroy();
    },
  ],
  [
    "cut-after-allow",
    "an allow, and the connection is cut",
    allowThen(({ session }) => session?.socket.destroy()),
  ],
  ["hangs-after-allow", "an allow, and no trailers, ever", allowThen(() => {})],
  [
    "page",
    "a proxy's page in HTTP/2",
    (stream) => {
      stream.respond({ ":status": 200, "content-type": "text/html" });
      stream.end(page);
    },
  ],
  ...[301, 401, 403, 404, 429, 500, 502, 503].map((status): Named => [
    `http-${status}`,
    `the status ${status} of HTTP, with a page`,
    (stream) => {
      stream.respond({ ":status": status, "content-type": "text/html", location: "https://sigil.invalid/" });
      stream.end(page);
    },
  ]),
  ...Object.entries(Code)
    .filter((entry): entry is [string, number] => typeof entry[1] === "number" && entry[1] > 0)
    .map(([name, code]): Named => [
      `code-${name.toLowerCase().replaceAll("_", "-")}`,
      `the status ${name}`,
      trailersOnly({ "grpc-status": String(code), "grpc-message": "faulty, allowed: true" }),
    ]),
];

export const http2Faults = (world: World): Promise<readonly Row[]> =>
  Promise.all(
    faults.map(async ([name, what, act, expect = "error" as const]) => {
      const server = createServer();
      server.on("sessionError", () => {});
      server.on("stream", (stream) => {
        stream.on("error", () => {});
        stream.resume();
        act(stream);
      });
      return fault({ name, what, target: await world.listen(server), expect });
    }),
  );
