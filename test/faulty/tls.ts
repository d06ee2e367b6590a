/** Faults of TLS: certificates that are not the server's, not yet or no more valid, and no TLS at all. */
import { createServer } from "node:net";
import { createServer as createTls } from "node:tls";
import { ServerCredentials } from "@grpc/grpc-js";
import { makeCertificate, type TestCertificate, type Validity } from "../contract/certificates.ts";
import { always, startServer } from "../unit/client/server.ts";
import { honest } from "./lies.ts";
import { control, fault, type Row } from "./row.ts";
import { principal, type World } from "./world.ts";

const serverName = "sigil.test";
const names = `DNS:${serverName},IP:127.0.0.1`;
const dayMs = 86_400_000;

const credentialsOf = (
  { cert, key }: TestCertificate,
  clients: { readonly ca: string } | null = null,
): ServerCredentials =>
  ServerCredentials.createSsl(
    clients === null ? null : Buffer.from(clients.ca),
    [{ cert_chain: Buffer.from(cert), private_key: Buffer.from(key) }],
    clients !== null,
  );

const behaviour = always({ ...honest, subject: principal });

export const tlsFaults = async ({
  stack,
  authority,
  caFile,
  honest: plain,
  keep,
  listen,
}: World): Promise<readonly Row[]> => {
  const issue = (altNames: string, validity?: Validity): Promise<TestCertificate> =>
    makeCertificate("server", altNames, authority, validity);
  const serve = async (credentials: ServerCredentials): Promise<string> =>
    stack.use(await startServer(behaviour, credentials)).target;
  const ago = (days: number): Date => new Date(Date.now() - days * dayMs);
  const good = await issue(names);
  const stranger = await makeCertificate("stranger", "DNS:stranger.test");
  const tls = { caFile, serverName };
  const otherCa = { caFile: await keep("other-ca.pem", stranger.cert), serverName };
  const row = async (name: string, what: string, credentials: ServerCredentials, given: Partial<Row> = {}) =>
    fault({ name, what, target: await serve(credentials), tls, ...given });
  const old = { key: Buffer.from(good.key), cert: Buffer.from(good.cert), ALPNProtocols: ["http/1.1"] };
  return [
    control({
      name: "control-tls",
      what: "TLS as it should be",
      target: await serve(credentialsOf(good)),
      tls,
    }),
    await row(
      "tls-other-authority",
      "a certificate by an authority that is not trusted",
      credentialsOf(await makeCertificate("server", names, stranger)),
    ),
    await row(
      "tls-self-signed",
      "a certificate that signed itself",
      credentialsOf(await makeCertificate("server", names)),
    ),
    await row("tls-trust-other", "trust in another authority than the server's", credentialsOf(good), {
      tls: otherCa,
    }),
    await row(
      "tls-expired",
      "a certificate that expired yesterday",
      credentialsOf(await issue(names, { notBefore: ago(10), notAfter: ago(1) })),
    ),
    await row(
      "tls-not-yet",
      "a certificate that is valid from tomorrow on",
      credentialsOf(await issue(names, { notBefore: ago(-1), notAfter: ago(-10) })),
    ),
    await row(
      "tls-other-name",
      "a certificate of another name",
      credentialsOf(await issue("DNS:other.test")),
    ),
    await row(
      "tls-wildcard",
      "a certificate of names below the server's",
      credentialsOf(await issue(`DNS:*.${serverName}`)),
    ),
    await row(
      "tls-client-required",
      "a server that requires a certificate of the client",
      credentialsOf(good, { ca: authority.cert }),
    ),
    fault({ name: "tls-to-plain", what: "a server without TLS", target: plain.server.target, tls }),
    fault({
      name: "plain-to-tls",
      what: "a server with TLS, called without",
      target: await serve(credentialsOf(good)),
    }),
    fault({
      name: "tls-half-open",
      what: "a server that says nothing in TLS",
      target: await listen(createServer(() => {})),
      tls,
    }),
    fault({
      name: "tls-http1",
      what: "a server of HTTP/1.1 in TLS, which allows in JSON",
      target: await listen(
        createTls(old, (socket) => {
          socket.on("error", () => {});
          socket.end('HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n{"allowed":true}');
        }),
      ),
      tls,
    }),
  ];
};
