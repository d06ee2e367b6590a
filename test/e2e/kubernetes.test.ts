/** What Kubernetes does to a process, its variables and its volumes, with real processes. */
import { chmod, mkdtemp, readdir, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { expect } from "chai";
import { afterEach, beforeEach, describe, it } from "mocha";
import { freePorts, serving, sigil, sigilHere } from "./command.ts";

/** As the kubelet changes a volume whose pod has an fsGroup, at each mount: g+rwX, and setgid on directories. */
const mountWithGroup = async (directory: string): Promise<void> => {
  await chmod(directory, 0o2770);
  for (const entry of await readdir(directory, { withFileTypes: true })) {
    const path = join(directory, entry.name);
    if (entry.isDirectory()) await mountWithGroup(path);
    else await chmod(path, 0o660);
  }
};

describe("in a pod", function () {
  this.slow(6000);

  let cwd: string;
  const serve = (env: Readonly<Record<string, string>> = {}) =>
    serving(["serve", "--data", "data", ...freePorts], { cwd, env });

  beforeEach(async () => {
    cwd = await mkdtemp(join(tmpdir(), "sigil-pod-"));
    await sigilHere(["init", "--data", "data", "--dev", "--origin", "pod.test"], { cwd });
  });

  afterEach(() => rm(cwd, { recursive: true, force: true }));

  it("starts beside a Service of its name, and its client too", async () => {
    const links = {
      SIGIL_SERVICE_HOST: "10.43.0.7",
      SIGIL_SERVICE_PORT: "50051",
      SIGIL_PORT: "tcp://10.43.0.7:50051",
      SIGIL_PORT_50051_TCP: "tcp://10.43.0.7:50051",
      SIGIL_CLIENT_SERVICE_HOST: "10.43.0.8",
      SIGIL_CLIENT_PORT_50051_TCP_ADDR: "10.43.0.8",
    };
    await using server = await serve({ ...links, SIGIL_LOG_LEVEL: "debug" });
    expect(await server.logs(/passed over/))
      .to.include('"level":"debug"')
      .and.to.include("SIGIL_PORT_50051_TCP");
    const env = { ...links, SIGIL_CLIENT_SERVER: server.target };
    const { exitCode, problems } = await sigil(["check", "--action", "read", "--target", "public/a"], {
      cwd,
      env,
    });
    expect([exitCode, problems]).to.deep.equal([0, ""]);
    const slip = await sigilHere(["audit", "list"], { cwd, env: { ...env, SIGIL_CLIENT_SERVR: "x" } });
    expect(slip.problems).to.include("did you mean SIGIL_CLIENT_SERVER?");
  });

  it("starts again on a volume that was mounted with an fsGroup and says so; not on one that others may read", async () => {
    await (await serve()).stop();
    await mountWithGroup(join(cwd, "data"));
    await chmod(join(cwd, "data.kek"), 0o440);
    {
      await using server = await serve();
      const line = await server.logs(/"path":"data".*accepted/);
      expect(JSON.parse(line)).to.include({ level: "warn", path: "data", gid: process.getegid?.() });
      await server.logs(/data\.kek".*accepted/);
    }
    const { output } = await sigilHere(["fsck", "--data", "data"], { cwd });
    expect(output).to.include("CLEAN");
    await chmod(join(cwd, "data", "deployment.json"), 0o664);
    const refused = await sigilHere(["serve", "--data", "data", ...freePorts], { cwd });
    expect([refused.exitCode, refused.problems]).to.deep.equal([
      2,
      "sigil: data/deployment.json has mode 0664; run: chmod 600 data/deployment.json\n",
    ]);
  });
});
