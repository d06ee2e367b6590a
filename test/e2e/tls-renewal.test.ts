/** Certificates and client authorities that are replaced while a server serves, with real sockets and files. */
import {
  copyFileSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  renameSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { connect as connectTls, type TLSSocket } from "node:tls";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { SigilError, type SigilConnection, type WatchResponse } from "@sigil/client";
import { createAuthority, pemOf, type Authority, type Pair } from "../contract/certificates.ts";
import { makeDeployment, origin, type Deployment, type ServedDeployment } from "./deployment.ts";

const question = { action: "read", target: "public/docs" };

/** A directory as Kubernetes mounts a Secret: files are links through `..data`, which is swapped as a whole. */
class MountedSecret implements Disposable {
  readonly directory = mkdtempSync(join(tmpdir(), "sigil-secret-"));
  #serial = 0;

  constructor(files: Readonly<Record<string, string>>) {
    this.put(files);
    for (const name of Object.keys(files)) this.link(name);
  }

  /** As it was mounted, whatever has been put there since. */
  link(name: string): void {
    rmSync(this.path(name), { force: true });
    symlinkSync(join("..data", name), this.path(name));
  }

  path(name: string): string {
    return join(this.directory, name);
  }

  /** Contents are copied from the paths given. */
  put(files: Readonly<Record<string, string>>): void {
    this.#serial += 1;
    const version = `..version-${this.#serial}`;
    mkdirSync(this.path(version));
    for (const [name, from] of Object.entries(files)) copyFileSync(from, join(this.directory, version, name));
    symlinkSync(version, this.path("..data_tmp"));
    renameSync(this.path("..data_tmp"), this.path("..data"));
  }

  [Symbol.dispose](): void {
    rmSync(this.directory, { recursive: true, force: true });
  }
}

const open = (target: string, options: object = {}): Promise<TLSSocket> =>
  new Promise((resolve, reject) => {
    const [host, port] = target.split(":");
    const socket = connectTls(
      { host, port: Number(port), ALPNProtocols: ["h2"], rejectUnauthorized: false, ...options },
      () => resolve(socket),
    );
    socket.once("error", reject);
  });

const servedName = async (target: string): Promise<string> => {
  const socket = await open(target);
  const { CN } = socket.getPeerCertificate().subject;
  socket.destroy();
  return String(CN);
};

const logged = async (served: ServedDeployment, pattern: RegExp): Promise<string> => {
  for (;;) {
    const line = served
      .logged()
      .split("\n")
      .findLast((one) => pattern.test(one));
    if (line !== undefined) return line;
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
};

/** From the beginning, with a heartbeat a second: the default would take 15 seconds to show that a stream goes on. */
const watched = { fromPosition: 0n, heartbeatSeconds: 1 };

/** A heartbeat that was sent after this was asked, past whatever had come before. @throws when the stream ends. */
const goesOn = async (watch: AsyncIterable<WatchResponse>): Promise<void> => {
  const sinceMs = Date.now();
  const messages = watch[Symbol.asyncIterator]();
  for (;;) {
    const { value } = await messages.next();
    const { event } = (value as WatchResponse | undefined) ?? expect.fail("the stream has ended");
    if (event?.$case === "heartbeat" && (event.value.time?.getTime() ?? 0) > sinceMs) return;
  }
};

describe("certificates that are renewed", function () {
  this.slow(10_000);

  let authority: Authority;
  let deployment: Deployment;
  let secret: MountedSecret;
  let first: Pair;
  let second: Pair;

  const paths = () => ({ "tls.cert": secret.path("tls.crt"), "tls.key": secret.path("tls.key") });
  const put = ({ cert, key }: Pair, ca = authority.ca): void =>
    secret.put({ "tls.crt": cert, "tls.key": key, "ca.crt": ca });
  const asClient = async (
    served: ServedDeployment,
    from: Authority,
    name: string,
  ): Promise<SigilConnection> => {
    const pair = await from.issue(name, `URI:spiffe://${origin}/operator`);
    const channelOptions = { "grpc.use_local_subchannel_pool": 1 };
    return served.as("guest", { tls: { ca: readFileSync(authority.ca), ...pemOf(pair) }, channelOptions });
  };

  beforeEach(async () => {
    authority = await createAuthority();
    first = await authority.issue("first", "DNS:sigil.test,IP:127.0.0.1");
    second = await authority.issue("second", "DNS:sigil.test,IP:127.0.0.1");
    secret = new MountedSecret({ "tls.crt": first.cert, "tls.key": first.key, "ca.crt": authority.ca });
    deployment = await makeDeployment();
  });

  afterEach(async () => {
    await deployment[Symbol.asyncDispose]();
    secret[Symbol.dispose]();
    authority[Symbol.dispose]();
  });

  it("come into use by themselves when the mount is swapped, and no connection ends", async () => {
    await using served = await deployment.serve({ config: paths() });
    const operator = served.as("operator", { tls: { ca: readFileSync(authority.ca) } });
    const watch = operator.canon.watch(watched);
    await watch.next();
    const before = await open(served.server.target);
    let ended = false;
    before.once("close", () => (ended = true));
    expect(before.getPeerCertificate().subject.CN).to.equal("first");
    put(second);
    expect(JSON.parse(await logged(served, /certificates renewed/))).to.include({ level: "info", ended: 0 });
    expect(await servedName(served.server.target)).to.equal("second");
    expect((await operator.trust.check(question)).allowed).to.equal(true);
    await goesOn(watch);
    expect(ended).to.equal(false);
    before.destroy();
    await watch.return();
  });

  it("come into use when the server is asked, and it says what came of it", async () => {
    await using served = await deployment.serve({ config: paths() });
    await served.server.reload();
    await logged(served, /certificates are unchanged/);
    // In place, as people copy files.
    copyFileSync(second.cert, secret.path("tls.crt"));
    copyFileSync(second.key, secret.path("tls.key"));
    await served.server.reload();
    expect(await servedName(served.server.target)).to.equal("second");
  });

  const bad: readonly (readonly [string, RegExp, () => void])[] = [
    [
      "a key of another certificate",
      /not a PEM pair/,
      () => writeFileSync(secret.path("tls.key"), readFileSync(second.key)),
    ],
    [
      "a certificate that is none",
      /holds no PEM certificate/,
      () => writeFileSync(secret.path("tls.crt"), "soon"),
    ],
    ["an empty key", /not a PEM pair/, () => writeFileSync(secret.path("tls.key"), "")],
    [
      "a chain that is cut off",
      /holds a certificate that is cut off/,
      () => {
        const pem = readFileSync(first.cert, "utf8");
        writeFileSync(secret.path("tls.crt"), `${pem}${readFileSync(authority.ca, "utf8").slice(0, 300)}`);
      },
    ],
    [
      "a chain with a certificate that cannot be parsed",
      /number 2/,
      () => {
        const end = "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n";
        writeFileSync(secret.path("tls.crt"), readFileSync(first.cert, "utf8") + end);
      },
    ],
    [
      "an authority that is none",
      /ca.crt holds no PEM certificate/,
      () => writeFileSync(secret.path("ca.crt"), "x"),
    ],
    ["no file", /cannot read/, () => rmSync(secret.path("tls.key"))],
    [
      "a file beyond its bound",
      /at most/,
      () => writeFileSync(secret.path("ca.crt"), Buffer.alloc((1 << 20) + 1)),
    ],
  ];
  it("are refused when anything is wrong with them: the old ones serve on, the log and a metric say so", async () => {
    const config = { ...paths(), "tls.client_ca": secret.path("ca.crt") };
    await using served = await deployment.serve({ config });
    const client = await asClient(served, authority, "client");
    const metrics = async () => (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    let refusals = 0;
    for (const [what, rule, spoil] of bad) {
      spoil();
      await served.server.reload();
      refusals += 1;
      const lines = served
        .logged()
        .split("\n")
        .filter((line) => line.includes("new certificates refused"));
      // A notice of the change may have come first, and is not said twice.
      expect(lines.at(-1), what).to.match(rule);
      expect(await servedName(served.server.target), what).to.equal("first");
      expect((await client.trust.check(question)).subject, what).to.equal("operator");
      expect(await metrics(), what).to.match(/^sigil_tls_current 0$/m);
      put(first);
      for (const name of ["tls.crt", "tls.key", "ca.crt"]) secret.link(name);
      await served.server.reload();
      expect(await metrics(), what).to.match(/^sigil_tls_current 1$/m);
    }
    const refused = /sigil_tls_reloads_total\{result="refused"\} (\d+)/.exec(await metrics())?.[1];
    expect(Number(refused)).to.be.at.least(refusals);
    const again = await asClient(served, authority, "again");
    expect((await again.trust.check(question)).subject).to.equal("operator");
  });

  it("end the connections of an authority that is removed, and no other", async () => {
    using other = await createAuthority();
    const both = join(dirname(first.cert), "both.pem");
    writeFileSync(both, readFileSync(authority.ca, "utf8") + readFileSync(other.ca, "utf8"));
    put(first, both);
    await using served = await deployment.serve({
      config: { ...paths(), "tls.client_ca": secret.path("ca.crt") },
    });
    const [staying, leaving] = [
      await asClient(served, authority, "staying"),
      await asClient(served, other, "leaving"),
    ];
    const [stays, leaves] = [staying.canon.watch(watched), leaving.canon.watch(watched)];
    await stays.next();
    await leaves.next();
    // A session of the removed authority's, to be taken up again later.
    const pair = pemOf(await other.issue("resuming", `URI:spiffe://${origin}/operator`));
    const socket = await open(served.server.target, { ...pair, maxVersion: "TLSv1.2" });
    const session = socket.getSession();
    const closed = new Promise((resolve) => socket.once("close", resolve));
    socket.resume();
    put(first, authority.ca);
    expect(JSON.parse(await logged(served, /certificates renewed/))).to.include({ ended: 2, authorities: 1 });
    await closed;
    let ending: unknown;
    try {
      for await (const _ of leaves);
    } catch (error) {
      ending = error;
    }
    expect(SigilError.from(ending).codeName).to.equal("UNAVAILABLE");
    expect((await leaving.trust.check(question)).subject).to.equal("");
    expect((await staying.trust.check(question)).subject).to.equal("operator");
    await goesOn(stays);
    const resumed = await open(served.server.target, { ...pair, maxVersion: "TLSv1.2", session });
    expect(resumed.isSessionReused()).to.equal(false);
    resumed.destroy();
    put(first, both);
    await served.server.reload();
    const returning = await asClient(served, other, "returning");
    expect((await returning.trust.check(question)).subject, "once it is put back").to.equal("operator");
    await stays.return();
  });

  it("keep the connections of an authority whose certificate is renewed with its key", async () => {
    await using served = await deployment.serve({
      config: { ...paths(), "tls.client_ca": secret.path("ca.crt") },
    });
    const client = await asClient(served, authority, "client");
    const watch = client.canon.watch(watched);
    await watch.next();
    using other = await createAuthority();
    const both = join(dirname(first.cert), "more.pem");
    writeFileSync(both, readFileSync(other.ca, "utf8") + readFileSync(authority.ca, "utf8"));
    put(first, both);
    expect(JSON.parse(await logged(served, /certificates renewed/))).to.include({ ended: 0, authorities: 2 });
    expect((await (await asClient(served, other, "new")).trust.check(question)).subject).to.equal("operator");
    expect((await client.trust.check(question)).subject).to.equal("operator");
    await goesOn(watch);
    await watch.return();
  });

  it("show when they end", async () => {
    await using served = await deployment.serve({
      config: { ...paths(), "tls.client_ca": secret.path("ca.crt") },
    });
    const metrics = await (await fetch(`${served.server.operatorUrl}/metrics`)).text();
    const ends = /sigil_tls_expiry_timestamp_seconds\{file="cert"\} (\S+)/.exec(metrics)?.[1];
    expect(Number(ends)).to.be.greaterThan(Date.now() / 1000);
    expect(metrics).to.match(/sigil_tls_expiry_timestamp_seconds\{file="client_ca"\} \S+/);
    expect(metrics).to.match(/^sigil_tls_current 1$/m);
  });
});
