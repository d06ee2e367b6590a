/** Flags over environment over file over defaults; every bad value and unknown key named. */
import { readFileSync } from "node:fs";
import { expect } from "chai";
import { describe, it } from "mocha";
import { describeConfig, makeConfig, readConfig, type Config } from "../../../src/config/config.ts";
import { flagOf, KEYS, keyNames, variableOf } from "../../../src/config/keys.ts";
import { SigilFault } from "../../../src/errors.ts";

type Given = {
  readonly argv?: readonly string[];
  readonly environment?: Readonly<Record<string, string>>;
  readonly file?: string;
};

const read = ({ argv = [], environment = {}, file }: Given): Config =>
  readConfig({
    argv: file === undefined ? argv : [...argv, "--config", "sigil.toml"],
    environment,
    readText: (path) => {
      if (file === undefined || path !== "sigil.toml") throw new Error("no such file");
      return file;
    },
  });

const faultOf = (given: Given): string => {
  try {
    read(given);
  } catch (error) {
    if (error instanceof SigilFault && error.error.kind === "invalidConfig") return error.message;
    throw error;
  }
  return "";
};

describe("the configuration", () => {
  it("prefers flags to the environment, the environment to the file, the file to the defaults", () => {
    const file = "drain_ms = 1\nslow_call_ms = 1\nkeepalive_ms = 1001\n";
    const environment = { SIGIL_DRAIN_MS: "2", SIGIL_SLOW_CALL_MS: "2" };
    const config = read({ argv: ["--drain-ms", "3"], environment, file });
    expect([config.drain_ms, config.slow_call_ms, config.keepalive_ms]).to.deep.equal([3, 2, 1001]);
    expect(config.deadline_max_ms).to.equal(60_000);
    const sources = new Map(describeConfig(config).map(({ key, source }) => [key, source]));
    expect(sources.get("drain_ms")).to.equal("flag --drain-ms");
    expect(sources.get("slow_call_ms")).to.equal("environment SIGIL_SLOW_CALL_MS");
    expect(sources.get("keepalive_ms")).to.equal("file sigil.toml");
    expect(sources.get("deadline_max_ms")).to.equal("default");
  });

  it("reads tables, switches and attached values", () => {
    const file = '[tls]\ncert = "c.pem"\nkey = "k.pem"\n';
    const config = read({ file, argv: ["--listen=[::]:443", "--no-reflection", "--insecure-listen"] });
    expect(config["tls.cert"]).to.equal("c.pem");
    expect(config.listen).to.deep.equal({ host: "::", port: 443 });
    expect([config.reflection, config.insecure_listen]).to.deep.equal([false, true]);
    expect(read({ argv: ["--reflection=false"] }).reflection).to.equal(false);
  });

  it("takes the file's name from the environment", () => {
    const inputs = { argv: [], environment: { SIGIL_CONFIG: "x.toml" }, readText: () => "drain_ms = 5" };
    expect(readConfig(inputs).drain_ms).to.equal(5);
  });

  it("names every bad value at once, as it was given", () => {
    const message = faultOf({
      argv: ["--listen", "nowhere"],
      environment: { SIGIL_DRAIN_MS: "soon" },
      file: 'log_level = "loud"\nreflection = 1\n',
    });
    for (const name of [
      "--listen",
      "SIGIL_DRAIN_MS",
      "log_level in sigil.toml",
      "reflection in sigil.toml",
    ]) {
      expect(message).to.contain(name);
    }
  });

  it("refuses an unknown flag with the nearest one", () => {
    expect(faultOf({ argv: ["--listne", "x"] })).to.contain("--listne: is not known; did you mean --listen?");
  });

  it("refuses an unknown SIGIL_ variable with the nearest one", () => {
    expect(faultOf({ environment: { SIGIL_LOGLEVEL: "info" } })).to.contain("did you mean SIGIL_LOG_LEVEL?");
    expect(faultOf({ environment: { SIGIL_KEK: "a key's own variable", HOME: "/" } })).to.equal("");
  });

  it("refuses an unknown key of the file with the nearest one, also inside tables, lists and dates", () => {
    expect(faultOf({ file: "drain_m = 5" })).to.contain("did you mean drain_ms?");
    expect(faultOf({ file: '[tls]\nclient-ca = "x"' })).to.contain("did you mean tls.client_ca?");
    expect(faultOf({ file: "listen = [1]" })).to.contain("listen in sigil.toml");
    expect(faultOf({ file: "[[servers]]\nlisten = 1" })).to.contain("servers: is not known");
    expect(faultOf({ file: "drain_ms = 2026-01-01" })).to.contain("drain_ms in sigil.toml");
    expect(faultOf({ file: "__proto__ = 1" })).to.contain("is not known");
  });

  it("says where a file is not TOML, and which file cannot be read", () => {
    expect(faultOf({ file: "drain_ms = \nx" })).to.contain("sigil.toml: is not TOML at line 1");
    expect(faultOf({ argv: ["--config", "gone.toml"] })).to.contain("cannot read gone.toml");
    expect(faultOf({ argv: ["--listen"] })).to.contain("--listen: needs a value");
  });

  it("refuses to serve others without TLS unless that is said", () => {
    expect(faultOf({ argv: ["--listen", "0.0.0.0:50051"] })).to.contain("insecure_listen");
    expect(faultOf({ argv: ["--listen", "sigil.example:50051"] })).to.contain("insecure_listen");
    expect(faultOf({ argv: ["--listen", "0.0.0.0:50051", "--insecure-listen"] })).to.equal("");
    expect(faultOf({ argv: ["--listen", "0.0.0.0:1", "--tls-cert", "c", "--tls-key", "k"] })).to.equal("");
    expect(() => makeConfig({ listen: { host: "0.0.0.0", port: 0 } })).to.throw(SigilFault);
  });

  it("takes a public URL as it is written once and for all, and shapes of AuthZEN's names", () => {
    for (const url of ["https://pdp.example.com", "https://pdp.example.com:8443/a/b", "https://[::1]"])
      expect(read({ argv: ["--public-url", url] }).public_url).to.equal(url);
    for (const url of [
      "http://pdp.example.com",
      "https://pdp.example.com/",
      "https://pdp.example.com/a/",
      "https://PDP.example.com",
      "https://pdp.example.com:443",
      "https://pdp.example.com?x",
      "https://pdp.example.com/a#b",
      "https://me@pdp.example.com",
      "https://pdp.example.com/a/../b",
      "pdp.example.com",
    ])
      expect(faultOf({ argv: ["--public-url", url] }), url).to.contain("--public-url");
    expect(faultOf({ argv: ["--authzen-subject-type", "a:b"] })).to.contain("without a colon");
    expect(faultOf({ argv: ["--authzen-action-prefix", "a b"] })).to.contain("letters");
  });

  it("refuses values that contradict each other", () => {
    expect(faultOf({ argv: ["--tls-cert", "c"] })).to.contain("go together");
    expect(faultOf({ argv: ["--tls-client-ca", "c"] })).to.contain("needs tls.cert");
    expect(faultOf({ argv: ["--tls-client-certificate", "required"] })).to.contain("needs tls.client_ca");
    expect(faultOf({ argv: ["--deadline-default-ms", "70000"] })).to.contain("at most deadline_max_ms");
  });

  it("masks secrets and takes them from the environment alone", () => {
    const config = read({ environment: { SIGIL_PASSPHRASE: "open sesame" } });
    expect(config.passphrase).to.equal("open sesame");
    expect(JSON.stringify(describeConfig(config))).not.to.contain("sesame");
    expect(faultOf({ argv: ["--passphrase", "open sesame"] })).to.contain("is not known");
    expect(faultOf({ file: 'passphrase = "open sesame"' })).to.contain("is not known");
    expect(faultOf({ argv: ["--passphrase=open sesame"] })).not.to.contain("sesame");
  });

  it("cannot be changed", () => {
    const config = read({}) as { drain_ms: number };
    expect(() => (config.drain_ms = 1)).to.throw(TypeError);
  });

  it("shows each value as it could be given again", () => {
    const shown = describeConfig(read({})).filter(({ key, value }) => !KEYS[key].secret && value !== "");
    const argv = shown.map(({ key, value }) => `${flagOf(key)}=${value}`);
    const again = read({ argv });
    expect(describeConfig(again).map(({ value }) => value)).to.deep.equal(
      describeConfig(read({})).map(({ value }) => value),
    );
  });

  it("answers Envoy only where it can call by its certificate, about whom it proved", () => {
    expect(faultOf({ argv: ["--envoy-ext-authz"] })).to.contain("needs tls.client_ca");
    const file = '[tls]\ncert = "c.pem"\nkey = "k.pem"\nclient_ca = "ca.pem"\n[envoy]\next_authz = true\n';
    expect(read({ file })["envoy.subject"]).to.deep.equal({ kind: "principal" });
    const argv = ["--envoy-subject", "metadata:envoy.filters.http.jwt_authn/payload/sub"];
    const keys = ["payload", "sub"];
    const source = { kind: "metadata", filter: "envoy.filters.http.jwt_authn", keys };
    expect(read({ file, argv })["envoy.subject"]).to.deep.equal(source);
    expect(faultOf({ argv: ["--envoy-subject", "header:x-user"] })).to.contain("source.principal");
    for (const prefix of ["a/", "/a", "a/../b", "a*", ""]) {
      expect(faultOf({ argv: ["--envoy-target-prefix", prefix] }), prefix).to.contain(
        "--envoy-target-prefix",
      );
    }
  });

  it("is documented with every key, its default and its meaning", () => {
    const page = readFileSync(new URL("../../../docs/operating/configuration.md", import.meta.url), "utf8");
    const rows = page
      .split("\n")
      .filter((line) => line.startsWith("| `"))
      .map((line) => line.replaceAll(/ +/g, " "));
    const expected = describeConfig(read({})).map(
      ({ key, value, what }) => `| \`${key}\` | ${value === "" ? "–" : `\`${value}\``} | ${what} |`,
    );
    expect(rows).to.deep.equal(expected);
  });

  it("runs the example of its documentation", () => {
    const page = readFileSync(new URL("../../../docs/operating/configuration.md", import.meta.url), "utf8");
    const [, file = ""] = /```toml\n([\s\S]*?)```/.exec(page) ?? [];
    const config = read({ file });
    expect([config.drain_ms, config["tls.client_ca"]]).to.deep.equal([20_000, "/etc/sigil/clients.pem"]);
  });

  it("runs the example of the page about HTTP", () => {
    const page = readFileSync(new URL("../../../docs/operating/http.md", import.meta.url), "utf8");
    const [, file = ""] = /```toml\n([\s\S]*?)```/.exec(page) ?? [];
    const { http_listen: address, http_hosts: hosts } = read({ file });
    expect([address, hosts]).to.deep.equal([{ host: "0.0.0.0", port: 8443 }, ["sigil.example"]]);
  });

  it("runs the example of the page about tiles, and takes a prefix in one spelling", () => {
    const page = readFileSync(new URL("../../../docs/operating/tiles.md", import.meta.url), "utf8");
    const [, file = ""] = /```toml\n([\s\S]*?)```/.exec(page) ?? [];
    const { tiles, tiles_prefix: prefix } = read({ file });
    expect([tiles, prefix]).to.deep.equal(["public", "/logs/main"]);
    for (const wrong of ["logs", "/logs/", "//", "/../x", "/a b", "/%61"]) {
      expect(faultOf({ argv: ["--tiles-prefix", wrong] }), wrong).to.match(/--tiles-prefix: must be \//);
    }
    expect(read({ argv: ["--tiles-prefix", "/"] }).tiles_prefix).to.equal("/");
  });

  it("has names that do not collide as flags and variables", () => {
    expect(new Set(keyNames.map(flagOf)).size).to.equal(keyNames.length);
    expect(new Set(keyNames.map(variableOf)).size).to.equal(keyNames.length);
  });
});
