/** The manifest of docs/operating/kubernetes.md says what the server takes. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { readConfig } from "../../../src/config/config.ts";

const page = readFileSync(new URL("../../../docs/operating/kubernetes.md", import.meta.url), "utf8");
const manifest = /```yaml\n([^]*?)```/.exec(page)?.[1] ?? "";

describe("the manifest for Kubernetes", () => {
  const argv = [...manifest.matchAll(/^ +- (--\S+)$/gm)].map(([, word = ""]) => word);
  const config = readConfig({ argv, environment: {}, readText: () => "" });

  it("has flags that the server knows, with values that go together", () => {
    expect(argv).to.have.length.greaterThan(5);
    expect(config["tls.cert"]).to.equal("/etc/sigil/tls/tls.crt");
  });

  it("names the ports that are served", () => {
    const ports = [...manifest.matchAll(/containerPort: (\d+)/g)].map(([, port]) => Number(port));
    const { listen, operator_listen: operator } = config;
    expect(ports).to.deep.equal([listen, operator].map((one) => ("port" in one ? one.port : 0)));
  });

  it("waits for the delay and the drain before it kills", () => {
    const grace = /terminationGracePeriodSeconds: (\d+)/.exec(manifest)?.[1];
    expect(Number(grace) * 1000).to.be.at.least(config.drain_delay_ms + config.drain_ms + 5000);
  });

  it("mounts nothing that others may read, and keeps the data below the volume's root", () => {
    const modes = [...manifest.matchAll(/defaultMode: (\d+)/g)].map(([, mode]) => mode);
    expect(modes).to.deep.equal(["0440", "0440"]);
    expect(config.data).to.match(/^\/var\/lib\/sigil\/./);
    expect(manifest).to.match(/fsGroup: (\d+)/);
  });
});
