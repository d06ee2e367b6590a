/** Proxies named by the environment, which write down all that reaches them: no token may be in it. */
import { appendFileSync, writeFileSync } from "node:fs";
import { createServer, type Socket } from "node:net";
import { join } from "node:path";
import { TLSSocket } from "node:tls";
import { makeCertificate } from "../contract/certificates.ts";
import { control, fault, type Row } from "./row.ts";
import type { World } from "./world.ts";

const accepted = "HTTP/1.1 200 Connection established\r\n\r\n";
const refused = "HTTP/1.1 403 Forbidden\r\ncontent-type: text/html\r\n\r\n<h1>Forbidden</h1>";

type Play = (socket: Socket) => void;

export const environmentFaults = async (
  world: World,
): Promise<{ readonly recordedFile: string; readonly rows: readonly Row[] }> => {
  const { folder, listen, caFile, honest } = world;
  const recordedFile = join(folder, "recorded.bin");
  writeFileSync(recordedFile, "", { mode: 0o600 });
  const stranger = await makeCertificate("sigil.invalid", "DNS:sigil.invalid");
  /** Reads a request, records it and all that follows, and plays. */
  const proxy = (play: Play): Promise<string> =>
    listen(
      createServer((socket) => {
        socket.on("data", (bytes) => appendFileSync(recordedFile, bytes));
        socket.once("data", () => play(socket));
      }),
    );
  const plays: readonly (readonly [name: string, what: string, play: Play])[] = [
    ["refuses", "refuses to connect", (socket) => socket.end(refused)],
    ["mute", "connects, and says nothing", (socket) => void socket.write(accepted)],
    [
      "garbage",
      "connects to bytes that mean nothing",
      (socket) => socket.end(Buffer.from(accepted + "\u00a5".repeat(4096), "latin1")),
    ],
    [
      "intercepts",
      "answers in TLS with a certificate of its own",
      (socket) => {
        socket.write(accepted);
        const { cert, key } = stranger;
        // What it would be told if the certificate were taken is recorded too.
        const inner = new TLSSocket(socket, { isServer: true, cert, key, ALPNProtocols: ["h2"] });
        inner.on("data", (bytes) => appendFileSync(recordedFile, bytes));
        inner.on("error", () => {});
      },
    ],
  ];
  const variables = ["grpc_proxy", "https_proxy", "http_proxy"] as const;
  const envOf = (url: string): Readonly<Record<string, string>> =>
    Object.fromEntries([
      ...variables.flatMap(
        (name) =>
          [
            [name, url],
            [name.toUpperCase(), url],
          ] as const,
      ),
      ...["no_proxy", "NO_PROXY", "no_grpc_proxy"].map((name) => [name, ""] as const),
    ]);
  const rows: Row[] = [];
  for (const [name, what, play] of plays) {
    const env = envOf(`http://${await proxy(play)}`);
    rows.push(
      fault({
        name: `proxy-${name}`,
        what: `a proxy of the environment that ${what}`,
        target: "sigil.invalid:443",
        tls: { caFile },
        env,
      }),
    );
    if (name !== "intercepts") continue;
    rows.push(
      fault({
        name: "proxy-plain",
        what: "a proxy of the environment, and no TLS",
        target: "sigil.invalid:50051",
        env,
      }),
      control({
        name: "control-proxy-local",
        what: "a proxy of the environment, which calls to this machine do not use",
        target: honest.server.target,
        env,
      }),
    );
  }
  return { recordedFile, rows };
};
