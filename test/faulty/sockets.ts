/** Faults below gRPC: nobody there, somebody who says nothing, and somebody who speaks something else. */
import { createServer, type Socket } from "node:net";
import { createServer as createHttp } from "node:http";
import { join } from "node:path";
import { closedPort, type World } from "./world.ts";
import { fault, type Row } from "./row.ts";

const allowInJson = '{"verdict":"VERDICT_ALLOW","allowed":true}';
const page = "<!doctype html><title>502</title><h1>Bad gateway</h1>allowed: true";

/** Empty SETTINGS of HTTP/2, RFC 9113 §6.5, as a server's first frame. */
const settings = Buffer.from([0, 0, 0, 4, 0, 0, 0, 0, 0]);
/** Of a frame that claims 16 MiB − 1, which HTTP/2 forbids unless it was agreed. */
const hugeFrame = Buffer.from([0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]);

const speakers: readonly (readonly [name: string, what: string, speak: (socket: Socket) => void])[] = [
  ["refuses", "accepts a connection and closes it", (socket) => void socket.end()],
  ["resets", "accepts a connection and resets it", (socket) => void socket.resetAndDestroy()],
  ["half-open", "accepts a connection and says nothing", () => {}],
  ["half-open-settings", "greets in HTTP/2, and says nothing more", (socket) => void socket.write(settings)],
  ["garbage", "answers with bytes that mean nothing", (socket) => void socket.end(Buffer.alloc(4096, 0xa5))],
  ["text-first", "greets as a mail server", (socket) => void socket.write("220 mail.test ESMTP\r\n")],
  [
    "garbage-after-settings",
    "greets in HTTP/2, and goes on in bytes that mean nothing",
    (socket) => void socket.end(Buffer.concat([settings, Buffer.alloc(512, 0x5a)])),
  ],
  [
    "huge-frame",
    "sends a frame of HTTP/2 longer than may be",
    (socket) => void socket.end(Buffer.concat([settings, hugeFrame, Buffer.alloc(1 << 16)])),
  ],
  ["http-0.9", "answers with a page without a status", (socket) => void socket.end(page)],
];

export const socketFaults = async (world: World): Promise<readonly Row[]> => {
  const rows = await Promise.all(
    speakers.map(async ([name, what, speak]) =>
      fault({ name, what, target: await world.listen(createServer(speak)) }),
    ),
  );
  const http = createHttp((_request, answer) => {
    answer.writeHead(200, { "content-type": "application/json" }).end(allowInJson);
  });
  const gateway = createHttp((_request, answer) => {
    answer.writeHead(502, { "content-type": "text/html" }).end(page);
  });
  // The parser refuses the preface of HTTP/2 on its own: the answer is written whatever was asked.
  http.on("clientError", (_error, socket) => {
    socket.end(`HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n${allowInJson}`);
  });
  gateway.on("clientError", (_error, socket) => {
    socket.end(`HTTP/1.1 502 Bad Gateway\r\ncontent-type: text/html\r\n\r\n${page}`);
  });
  const stale = join(world.folder, "speechless.sock");
  return [
    ...rows,
    fault({ name: "down", what: "nobody listens", target: await closedPort() }),
    fault({
      name: "http1-json",
      what: "speaks HTTP/1.1, and allows in JSON",
      target: await world.listen(http),
    }),
    fault({ name: "http1-page", what: "a gateway's page in HTTP/1.1", target: await world.listen(gateway) }),
    fault({
      name: "dns",
      what: "a name that does not exist",
      target: "sigil.invalid:50051",
      tls: { caFile: world.caFile },
    }),
    fault({
      name: "socket-missing",
      what: "a Unix socket that is not there",
      target: `unix:${join(world.folder, "no.sock")}`,
    }),
    fault({ name: "socket-file", what: "a file in place of a Unix socket", target: `unix:${world.caFile}` }),
    fault({
      name: "socket-mute",
      what: "a Unix socket on which nobody speaks",
      target: await world.listen(
        createServer(() => {}),
        stale,
      ),
    }),
  ];
};
