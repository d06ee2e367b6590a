/**
 * What Kubernetes puts into every pod for a Service is no setting of ours, and a slip of a setting is not Kubernetes'.
 */
import { expect } from "chai";
import { describe, it } from "mocha";
import { readConfig } from "../../../src/config/config.ts";
import { keyNames, variableOf } from "../../../src/config/keys.ts";
import { isServiceLink } from "../../../src/config/service-links.ts";
import { connectionFlags } from "../../../src/cli/call/connection.ts";

/** As the kubelet makes them, of a Service with two ports, one of them named. */
const linksOf = (service: string, host = "10.43.0.7"): Readonly<Record<string, string>> => {
  const name = service.toUpperCase().replaceAll("-", "_");
  const url = host.includes(":") ? `tcp://[${host}]:50051` : `tcp://${host}:50051`;
  return {
    [`${name}_SERVICE_HOST`]: host,
    [`${name}_SERVICE_PORT`]: "50051",
    [`${name}_SERVICE_PORT_GRPC_TLS`]: "50051",
    [`${name}_PORT`]: url,
    [`${name}_PORT_50051_TCP`]: url,
    [`${name}_PORT_50051_TCP_PROTO`]: "tcp",
    [`${name}_PORT_50051_TCP_PORT`]: "50051",
    [`${name}_PORT_50051_TCP_ADDR`]: host,
    [`${name}_PORT_53_UDP`]: url.replace("tcp", "udp"),
    [`${name}_PORT_53_UDP_PROTO`]: "udp",
    [`${name}_PORT_53_UDP_PORT`]: "53",
    [`${name}_PORT_53_UDP_ADDR`]: host,
  };
};

const read = (environment: Readonly<Record<string, string>>) =>
  readConfig({ argv: [], environment, readText: () => "" });

describe("variables of Kubernetes Services", () => {
  for (const service of ["sigil", "sigil-operator", "sigil-log-level", "sigil-client", "sigil-2"]) {
    it(`are passed over for a Service named ${service}, and named`, () => {
      for (const links of [linksOf(service), linksOf(service, "fd00:10:96::7")]) {
        const config = read({ ...links, SIGIL_DRAIN_MS: "7" });
        expect(config.drain_ms).to.equal(7);
        expect(config.passedOver.toSorted()).to.deep.equal(Object.keys(links).toSorted());
      }
    });
  }

  it("are none of a slip of a known name, of another shape, or of a port that somebody means to set", () => {
    const slips = {
      SIGIL_LISTN: "127.0.0.1:1",
      SIGIL_DATA_DIR: "x",
      SIGIL_SERVICE: "x",
      SIGIL_SERVICE_HOSTS: "10.0.0.1",
      SIGIL_PORT: "6000",
      SIGIL_OPERATOR_PORT: "6001",
      SIGIL_PORT_GRPC: "tcp://10.0.0.1:1",
      SIGIL_PORT_1_TCP_HOST: "10.0.0.1",
      SIGIL_PORT_1_TCP: "6000",
      sigil_service_host: "10.0.0.1",
    };
    for (const [name, value] of Object.entries(slips)) {
      expect(isServiceLink(name, value), name).to.equal(false);
      if (!name.startsWith("SIGIL_")) continue;
      expect(() => read({ [name]: value }), name).to.throw(`${name}: is not known; did you mean SIGIL_`);
    }
  });

  it("have no name of a setting: none could be taken for one of ours", () => {
    const clients = Object.keys(connectionFlags).map((flag) => `CLIENT_${flag.replaceAll("-", "_")}`);
    const ours = [...keyNames.map(variableOf), "SIGIL_CONFIG", "SIGIL_KEK", "SIGIL_NEW_PASSPHRASE"];
    for (const name of [...ours, ...clients.map((one) => `SIGIL_${one.toUpperCase()}`)]) {
      for (const value of Object.values(linksOf("sigil")))
        expect(isServiceLink(name, value), name).to.equal(false);
    }
  });
});
